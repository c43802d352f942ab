//! `sandscope serve` as a process: what it prints, who it lets in, how it stops.

mod server;

use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandscope_client::{Client, ClientError, ClientOptions};
use server::Server;

const BOUND: Duration = Duration::from_secs(10);

/// How long a program may take that makes a sandbox, on a crowded machine.
const PATIENCE: Duration = Duration::from_secs(120);

async fn command(arguments: &[&str], server: &Server) -> Result<Output> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(arguments).arg("--data-dir").arg(server.data());
    tokio::time::timeout(BOUND, command.output()).await?.context("cannot run the binary")
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() -> Result<()> {
    if server::skip_without_root("a second server") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let output = command(&["serve", "--listen", "127.0.0.1:0"], &server).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(stderr.contains("another server (process"), "{stderr}");
    ensure!(output.stdout.is_empty());
    server.stop_softly().await
}

#[tokio::test]
async fn a_first_start_on_a_taken_port_does_not_waste_the_first_key() -> Result<()> {
    if server::skip_without_root("a first start that fails") {
        return Ok(());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let (data, port) = (tempfile::tempdir()?, taken.local_addr()?);
    let mut failing = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    failing.args(["serve", "--listen", &port.to_string(), "--data-dir"]).arg(data.path());
    let output = tokio::time::timeout(BOUND, failing.output()).await??;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    ensure!(stderr.contains(&format!("cannot listen on {port}")), "{stderr}");

    // Insists on being given a key.
    let mut server = Server::start_in(data).await?;
    server.stop_softly().await
}

#[tokio::test]
async fn connections_without_a_key_do_not_keep_out_those_who_have_one() -> Result<()> {
    if server::skip_without_root("a crowd at the door") {
        return Ok(());
    }
    // Nobody's place becomes free by itself for longer than this test may take.
    let bounds = ["--max-connections", "96", "--max-keyless-connections", "48", "--header-timeout-s", "600"];
    let mut server = Server::start_with(&bounds).await?;
    let address = server.environment().get("E2B_API_URL").context("no address")?.clone();
    let address: std::net::SocketAddr = address.trim_start_matches("http://").parse()?;
    let mut silent = Vec::new();
    for n in 0..240_u8 {
        let socket = tokio::net::TcpSocket::new_v4()?;
        // One address first, then some.
        let from = if n < 120 { 2 } else { 2 + n % 8 };
        socket.bind(([127, 0, 0, from], 0).into())?;
        silent.push(tokio::time::timeout(BOUND, socket.connect(address)).await??);
        if n % 40 == 39 {
            tokio::time::timeout(BOUND, server.client()?.sandboxes("running", 1))
                .await
                .context("kept out")??;
        }
    }
    drop(silent);
    server.stop_softly().await
}

#[tokio::test]
async fn a_key_made_beside_a_running_server_lets_in_until_it_is_deleted() -> Result<()> {
    if server::skip_without_root("keys beside a running server") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let made = command(&["key", "create", "--name", "second"], &server).await?;
    let key = String::from_utf8(made.stdout)?.trim().to_owned();
    let api_url = server.environment().get("E2B_API_URL").cloned().context("no address")?;
    let client = Client::new(&ClientOptions { api_url, sandbox_url: None, api_key: key.clone() })?;
    client.sandboxes("running", 1).await?;

    let listed = String::from_utf8(command(&["key", "list"], &server).await?.stdout)?;
    ensure!(!listed.contains(&key), "the list shows the key");
    let line = listed.lines().find(|line| line.contains("second")).context("the key is not listed")?;
    let id = line.split(' ').next().unwrap_or_default();
    ensure!(command(&["key", "delete", id], &server).await?.status.success());
    let refused = async {
        while !matches!(client.sandboxes("running", 1).await, Err(ClientError::Refused { status: 401, .. })) {
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, refused).await.context("the deleted key still lets in")?;
    server.stop_softly().await
}

#[tokio::test]
async fn a_key_stays_good_across_a_restart() -> Result<()> {
    if server::skip_without_root("restart") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let key = server.environment().get("E2B_API_KEY").cloned();
    server.client()?.sandboxes("running", 1).await?;
    server.stop_softly().await?;
    server.start_again().await?;
    ensure!(server.environment().get("E2B_API_KEY").cloned() == key);
    server.client()?.sandboxes("running", 1).await?;
    server.stop_softly().await
}

/// A host that has all that sandboxes need to look at, and refuses to make one: root without `CAP_SYS_ADMIN`, as in a
/// container.
#[tokio::test]
async fn a_host_that_cannot_make_a_sandbox_is_not_called_good() -> Result<()> {
    if server::skip_without_root("a host without a capability") {
        return Ok(());
    }
    let data = tempfile::Builder::new().prefix("sandscope-test-").tempdir()?;
    let without = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "--"]);
        command.arg(env!("CARGO_BIN_EXE_sandscope")).args(arguments).arg("--data-dir").arg(data.path());
        command.args(["--listen", "127.0.0.1:0"]).kill_on_drop(true);
        command
    };
    let doctor = match without(&["doctor", "--json"]).output().await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            server::skip("a host without a capability", "setpriv is not installed (util-linux)");
            return Ok(());
        }
        doctor => doctor?,
    };
    let said: serde_json::Value = serde_json::from_slice(&doctor.stdout)?;
    let check = |said: &serde_json::Value| {
        let checks = said["checks"].as_array().into_iter().flatten();
        checks.filter(|check| check["name"] == "a sandbox").cloned().collect::<Vec<_>>()
    };
    let [trial] = &check(&said)[..] else { anyhow::bail!("it was not tried: {said}") };
    ensure!(doctor.status.code() == Some(1) && trial["status"] == "problem", "{said}");
    let says = trial["says"].as_str().unwrap_or_default();
    ensure!(says.contains("none can be made") && says.contains("ermi"), "the cause is not named: {says}");
    let n_left = std::fs::read_dir(data.path())?.count();
    ensure!(n_left == 0, "{n_left} things are left");

    let serve = tokio::time::timeout(PATIENCE, without(&["serve"]).output()).await??;
    let stderr = String::from_utf8_lossy(&serve.stderr).into_owned();
    ensure!(serve.status.code() == Some(1) && serve.stdout.is_empty(), "it called itself ready: {serve:?}");
    ensure!(stderr.contains("no sandbox can be made") && stderr.contains("ermi"), "{stderr}");

    // With all capabilities the same host is good, and nothing stays of the trial.
    let fresh = tempfile::Builder::new().prefix("sandscope-test-").tempdir()?;
    let mut doctor = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    doctor.args(["doctor", "--json", "--listen", "127.0.0.1:0", "--data-dir"]).arg(fresh.path());
    let doctor = tokio::time::timeout(PATIENCE, doctor.kill_on_drop(true).output()).await??;
    let said: serde_json::Value = serde_json::from_slice(&doctor.stdout)?;
    ensure!(check(&said).iter().all(|check| check["status"] == "ok"), "{said}");
    ensure!(std::fs::read_dir(fresh.path())?.next().is_none(), "something is left of the trial");
    Ok(())
}
