//! Our own command line against a server with TLS.

mod server;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use server::{Server, skip_without_root};

fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(arguments).stdin(Stdio::null()).env_remove("SSL_CERT_FILE");
    command
}

/// A certificate of its own authority in `folder`.
fn certify(folder: &Path) -> Result<()> {
    let made = binary(&["tls", "self-signed", "--out"]).arg(folder).output()?;
    ensure!(made.status.success(), "{made:?}");
    Ok(())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn the_command_line_over_tls() -> Result<()> {
    if skip_without_root("the command line over TLS") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (ours, strange) = (folder.path().join("ours"), folder.path().join("strange"));
    certify(&ours)?;
    certify(&strange)?;
    let path = |name: &str| ours.join(name).display().to_string();
    let (cert, key, authority) = (path("cert.pem"), path("key.pem"), path("ca.pem"));
    let settings = ["--domain", "e2b.localhost", "--tls-cert", &cert, "--tls-key", &key];
    let mut server = Server::start_with(&settings).await?;
    let url = server.environment().get("E2B_API_URL").context("no address")?;
    ensure!(url.starts_with("https://"), "{url}");
    let command = |arguments: &[&str]| {
        let mut command = binary(arguments);
        command.envs(server.environment());
        command
    };

    // Whose certificate it is must be said, in either way; the wrong one is as good as none.
    let unknown = command(&["sandbox", "list"]).output()?;
    ensure!(!unknown.status.success() && said(&unknown).contains("--ca-file"), "{unknown:?}");
    let wrong = command(&["sandbox", "list", "--ca-file"]).arg(strange.join("ca.pem")).output()?;
    ensure!(!wrong.status.success() && said(&wrong).contains("no secure connection"), "{wrong:?}");
    let missing = command(&["sandbox", "list", "--ca-file"]).arg(folder.path().join("none.pem")).output()?;
    ensure!(!missing.status.success() && said(&missing).contains("none.pem"), "{missing:?}");
    let made = command(&["sandbox", "create", "--json", "--ca-file", &authority]).output()?;
    ensure!(made.status.success(), "{made:?}");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout)?;
    let id = made["sandboxID"].as_str().context("no id")?;

    // What goes into the sandbox goes over TLS as well.
    let trusting = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("SSL_CERT_FILE", &authority);
        command
    };
    let ran = trusting(&["sandbox", "exec", id, "echo", "hello"]).output()?;
    ensure!(ran.status.success() && ran.stdout == b"hello\n", "{ran:?}");
    std::fs::write(folder.path().join("file"), vec![b'x'; 3_000_000])?;
    let inside = format!("{id}:/home/user/file");
    let there = trusting(&["files", "cp"]).arg(folder.path().join("file")).arg(&inside).output()?;
    ensure!(there.status.success(), "{there:?}");
    let back = trusting(&["files", "cp", &inside]).arg(folder.path().join("back")).output()?;
    ensure!(back.status.success(), "{back:?}");
    ensure!(std::fs::read(folder.path().join("back"))?.len() == 3_000_000, "not all of it came back");
    let killed = trusting(&["sandbox", "kill", id]).output()?;
    ensure!(killed.status.success(), "{killed:?}");
    server.stop_softly().await
}

/// A receiver with a certificate of a private authority: another server's port, which refuses what it does not know, but
/// over a connection that was trusted.
#[tokio::test]
async fn webhooks_trust_the_authority_that_the_operator_named() -> Result<()> {
    if skip_without_root("webhooks to a private authority") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    certify(folder.path())?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key, authority) = (path("cert.pem"), path("key.pem"), path("ca.pem"));
    let mut receiver = Server::start_with(&["--tls-cert", &cert, "--tls-key", &key]).await?;
    let url = receiver.environment().get("E2B_API_URL").context("no address")?.clone();
    for (set, class) in
        [(&[][..], "transport_error"), (&[("SANDSCOPE_WEBHOOK_CA_FILE", authority.as_str())], "http_error")]
    {
        let mut server = Server::start_where(set).await?;
        let json = |arguments: &[&str]| -> Result<serde_json::Value> {
            let output = binary(arguments).arg("--json").envs(server.environment()).output()?;
            serde_json::from_slice(&output.stdout).with_context(|| said(&output))
        };
        let made = json(&["webhook", "create", &format!("{url}/hook")])?;
        let id = made["id"].as_str().context("no id")?;
        let attempt = json(&["webhook", "test", id])?;
        ensure!(attempt["errorClass"] == class, "{attempt}");
        ensure!(attempt["responseHttpStatusCode"].is_u64() == (class == "http_error"), "{attempt}");
        server.stop_softly().await?;
    }
    receiver.stop_softly().await?;
    // One that is of no use is noticed before anything is made.
    let data = folder.path().join("data");
    let refused = Server::refusal(&data, &["--webhook-ca-file", &key]).await?;
    ensure!(refused.contains("[webhooks] ca_file") && refused.contains("key.pem"), "{refused}");
    ensure!(!data.exists(), "a start that was refused left something behind");
    Ok(())
}
