//! Where webhooks may go is changed while the server runs.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::operations::{BOUND, base, text, until};
use crate::receiver::{Answer, Receiver};
use crate::server::{self, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_rules_hold_for_connections_that_are_open() -> Result<()> {
    if server::skip_without_root("changed egress rules") {
        return Ok(());
    }
    let file = tempfile::NamedTempFile::new()?;
    let permit = "[webhooks]\ndeny_ports = []\n";
    std::fs::write(file.path(), permit)?;
    let path = file.path().to_str().context("a path")?;
    let mut server = Server::start_with(&["--config", path]).await?;
    let hang_up = |text: &str| -> Result<()> {
        std::fs::write(file.path(), text)?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(server.pid()?)?);
        Ok(nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP)?)
    };
    let client = server.client()?;
    let receiver = Receiver::start(|_| Answer::Ok).await?;
    let webhook = json!({
        "name": "reloaded", "url": receiver.url(), "signatureSecret": "of changed rules",
        "events": ["sandbox.lifecycle.updated"],
        "retry": { "policy": "custom", "delaysSeconds": vec![1; 50] },
    });
    let id = text(&client.register_webhook(&webhook).await?, "id")?;
    let sandbox = client.create_sandbox(&base()).await?.sandbox_id;
    client.set_timeout(&sandbox, 600).await?;
    receiver.wait("a delivery", BOUND, |taken, _| taken.len() == 1).await?;

    // A connection is open. The port is denied: nothing goes there any more, be the connection ever so open.
    let port = receiver.url().rsplit_once(':').context("a port")?.1.trim_end_matches("/hook").to_owned();
    hang_up(&format!("[webhooks]\ndeny_ports = [{port}]\n"))?;
    let refused = |attempt: &serde_json::Value| attempt["errorClass"] == "request_error";
    until("a test is refused", || async { Ok(refused(&client.test_webhook(&id).await?).then_some(())) })
        .await?;
    let n_before = receiver.n_arrivals();
    client.set_timeout(&sandbox, 600).await?;
    until("the delivery is refused", || async {
        let failed = client.attempts(&id, true, 100).await?;
        let groups = failed["data"].as_array().cloned().unwrap_or_default();
        // The tests' made-up events come from sandboxes that never were.
        let ours = groups.iter().find(|group| group["sandboxId"] == *sandbox);
        Ok(ours.is_some_and(|group| refused(&group["attempts"][0])).then_some(()))
    })
    .await?;
    ensure!(receiver.n_arrivals() == n_before, "something went to a denied port");

    // What cannot be read changes nothing.
    hang_up("[webhooks]\ndeny_ports = \"all\"\n")?;
    until("it is said in the log", || async {
        let log = std::fs::read_to_string(server.data().join("server.log"))?;
        Ok(log.contains("the configuration in use stays").then_some(()))
    })
    .await?;
    ensure!(refused(&client.test_webhook(&id).await?));

    hang_up(permit)?;
    receiver.wait("what was refused is delivered", BOUND, |taken, _| taken.contains(&3)).await?;
    client.kill(&sandbox).await?;
    server.stop_softly().await
}
