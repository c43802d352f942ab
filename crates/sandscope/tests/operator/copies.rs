//! Data directories that were copied, restored or moved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandscope_client::{Client, Command, Event, EventFilter, EventQuery, NewSandbox, NewWebhook, Sandbox};
use tokio::process::Command as Program;

use crate::server::{self, Receiver, Server, eventually};

const BOUND: Duration = Duration::from_secs(30);
/// One is kept ready, as those are nobody's yet and have no record.
const SMALL: [&str; 4] = ["--warm-sandboxes", "1", "--disk-mb", "64"];
const KILLED: &str = "sandbox.lifecycle.killed";

async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let ran = Program::new(program).args(arguments).output().await?;
    ensure!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in plain letters")
}

/// The databases alone and the key beside them, as the manual has it.
async fn back_up(from: &Path, to: &Path) -> Result<()> {
    let program = "import os, shutil, sqlite3, sys\n\
                   source, target = sys.argv[1:]\n\
                   os.mkdir(target, 0o700)\n\
                   for name in os.listdir(source):\n\
                   \x20   if name.endswith('.sqlite'):\n\
                   \x20       copy = sqlite3.connect(os.path.join(target, name))\n\
                   \x20       sqlite3.connect(os.path.join(source, name)).backup(copy)\n\
                   \x20       copy.close()\n\
                   shutil.copy(os.path.join(source, 'webhooks.key'), target)\n";
    run("python3", &["-c", program, text(from)?, text(to)?]).await
}

async fn forget_home(data: &Path) -> Result<()> {
    let program =
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM home'); c.commit()";
    run("python3", &["-c", program, text(&data.join("facts.sqlite"))?]).await
}

async fn create(client: &Client) -> Result<Sandbox> {
    let wanted = NewSandbox { template_id: "base".into(), timeout: Some(600), ..NewSandbox::default() };
    Ok(client.create_sandbox(&wanted).await?)
}

/// Runs a command inside, as a user would.
async fn check_well(client: &Client, sandbox: &Sandbox) -> Result<()> {
    let ran = client.run(sandbox, &Command::shell("echo well")).await;
    let (code, words) = ran.with_context(|| format!("{} does not run commands", sandbox.sandbox_id))?;
    ensure!((code, words.as_str()) == (0, "well\n"), "{code}: {words}");
    Ok(())
}

async fn killed_events(client: &Client) -> Result<Vec<Event>> {
    let filter = EventFilter { types: vec![KILLED.to_owned()], ..EventFilter::default() };
    Ok(client.events(&EventQuery { filter, limit: 100, ..EventQuery::default() }).await?)
}

fn ids(events: &[Event]) -> BTreeSet<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

fn init_pid(data: &Path, sandbox: &Sandbox) -> Result<String> {
    let record = data.join("sandboxes").join(&sandbox.sandbox_id).join("sandbox.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record)?)?;
    Ok(record["made"]["init"]["pid"].to_string())
}

async fn leave(mut server: Server) -> Result<()> {
    let client = server.client()?;
    for sandbox in client.sandboxes("running,paused", 100).await? {
        client.kill(&sandbox.sandbox_id).await?;
    }
    server.check_agreement().await?;
    server.stop_softly().await?;
    server.check_agreement().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_refused_until_it_is_adopted_and_then_harms_nobody() -> Result<()> {
    if server::skip_without_root("copies of a data directory") {
        return Ok(());
    }
    let holder = tempfile::tempdir()?;
    let original = Server::start_with(&SMALL).await?;
    let client = original.client()?;
    let receiver = Receiver::start().await?;
    let webhook = NewWebhook {
        name: "production".to_owned(),
        url: receiver.url(),
        events: vec![KILLED.to_owned()],
        enabled: true,
        signature_secret: "a-secret-of-some-length".to_owned(),
    };
    client.create_webhook(&webhook).await?;
    let (running, paused, early) = (create(&client).await?, create(&client).await?, create(&client).await?);
    client.pause(&paused.sandbox_id).await?;
    client.kill(&early.sandbox_id).await?;
    eventually("the receiver has the first one", BOUND, || receiver.deliveries() == 1).await?;

    let (copied, backed_up) = (holder.path().join("copied"), holder.path().join("backed-up"));
    run("cp", &["-a", "--sparse=always", text(&original.data())?, text(&copied)?]).await?;
    back_up(&original.data(), &backed_up).await?;
    for copy in [&copied, &backed_up] {
        let before = std::fs::read(copy.join("webhooks.key"))?;
        let words = Server::refusal(copy, &SMALL).await?;
        for wanted in ["--adopt", text(&original.data())?, text(copy)?] {
            ensure!(words.contains(wanted), "no {wanted}: {words}");
        }
        ensure!(std::fs::read(copy.join("webhooks.key"))? == before);
        check_well(&client, &running).await?;
    }
    // As if only an earlier version had served it: it says nothing of itself, but the sandboxes do.
    forget_home(&copied).await?;
    let words = Server::refusal(&copied, &SMALL).await?;
    ensure!(words.contains("is a copy"), "{words}");
    for copy in [copied, backed_up] {
        adopt(copy, &original, &receiver, [&running, &paused]).await?;
    }
    check_well(&client, &running).await?;
    client.connect(&paused.sandbox_id, 600).await?;
    check_well(&client, &paused).await?;
    for sandbox in [&running, &paused] {
        client.kill(&sandbox.sandbox_id).await?;
    }
    let own = ids(&killed_events(&client).await?);
    eventually("the original delivers on", BOUND, || receiver.has_all(&own)).await?;
    leave(original).await
}

/// Adopts a copy, sees what it says and does, and lets it go.
async fn adopt(copy: PathBuf, original: &Server, receiver: &Receiver, alive: [&Sandbox; 2]) -> Result<()> {
    let before = receiver.received();
    let adopting = [&SMALL[..], &["--adopt"]].concat();
    let mut server = Server::start_over(copy, original, &adopting).await?;
    let client = server.client()?;
    ensure!(client.sandboxes("running,paused", 100).await?.is_empty(), "none came along");
    let killed = killed_events(&client).await?;
    for sandbox in alive {
        let of_it = killed.iter().find(|event| event.sandbox_id.as_ref() == Some(&sandbox.sandbox_id));
        let data = of_it.and_then(|event| event.event_data.as_ref()).context("no event tells of its end")?;
        ensure!(
            data["kill_reason"] == "elsewhere" && data["kill_detail"] == "directory_adopted",
            "not the true reason: {data}"
        );
    }
    check_well(&original.client()?, alive[0]).await?;
    // What it does itself it does not deliver either, and goes on so after a restart, without being told again.
    client.kill(&create(&client).await?.sandbox_id).await?;
    server.check_agreement().await?;
    server.stop_softly().await?;
    server.set_extra(&SMALL);
    server.start_again().await?;
    let client = server.client()?;
    client.kill(&create(&client).await?.sandbox_id).await?;
    let silent = ids(&killed_events(&client).await?);
    server.stop_softly().await?;
    server.check_agreement().await?;
    ensure!(receiver.received() == before, "a copy delivers nothing until it is told");

    server.set_extra(&[&SMALL[..], &["--deliver"]].concat());
    server.start_again().await?;
    let client = server.client()?;
    client.kill(&create(&client).await?.sandbox_id).await?;
    let news: BTreeSet<String> = ids(&killed_events(&client).await?).difference(&silent).cloned().collect();
    ensure!(news.len() == 1, "{news:?}");
    eventually("what happens from then on is delivered", BOUND, || receiver.has_all(&news)).await?;
    ensure!(receiver.received() == before.union(&news).cloned().collect(), "and nothing of what was before");
    leave(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sandboxes_live_on_when_the_directory_is_moved() -> Result<()> {
    if server::skip_without_root("moved data directories") {
        return Ok(());
    }
    let holder = tempfile::tempdir()?;
    let mut server = Server::start_with(&SMALL).await?;
    let client = server.client()?;
    let (running, paused) = (create(&client).await?, create(&client).await?);
    client.pause(&paused.sandbox_id).await?;
    server.stop_softly().await?;
    server.move_data(holder.path().join("moved"))?;
    server.start_again().await?;
    let client = server.client()?;
    check_well(&client, &running).await?;
    client.connect(&paused.sandbox_id, 600).await?;
    check_well(&client, &paused).await?;
    ensure!(killed_events(&client).await?.is_empty());
    let made = create(&client).await?;
    check_well(&client, &made).await?;
    // A snapshot reads the disk by its new path.
    client.snapshot(&running.sandbox_id, None).await?;
    server.check_agreement().await?;
    leave(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_from_another_file_system_is_refused_before_anything_happens() -> Result<()> {
    if server::skip_without_root("moved data directories") {
        return Ok(());
    }
    let holder = tempfile::tempdir()?;
    let mount = holder.path().join("small");
    std::fs::create_dir(&mount)?;
    run("mount", &["-t", "tmpfs", "-o", "size=512m", "none", text(&mount)?]).await?;
    let outcome = move_from(&mount, holder.path().join("moved")).await;
    run("umount", &["-l", text(&mount)?]).await?;
    outcome
}

async fn move_from(mount: &Path, to: PathBuf) -> Result<()> {
    let data = tempfile::Builder::new().prefix("data-").tempdir_in(mount)?;
    let mut server = Server::start_in_with(data, &SMALL).await?;
    let sandbox = create(&server.client()?).await?;
    server.stop_softly().await?;
    let process = PathBuf::from("/proc").join(init_pid(&server.data(), &sandbox)?);
    run("mv", &[text(&server.data())?, text(&to)?]).await?;
    let words = Server::refusal(&to, &SMALL).await?;
    ensure!(words.contains("another file system"), "{words}");
    ensure!(process.exists(), "a refusal ends nothing");
    // Its home is gone for good, so nobody else will ever end it.
    let server = Server::start_over(to, &server, &[&SMALL[..], &["--adopt"]].concat()).await?;
    eventually("what was nobody's any more is ended", BOUND, || !process.exists()).await?;
    let killed = killed_events(&server.client()?).await?;
    let data = killed.first().and_then(|event| event.event_data.as_ref()).context("no event")?;
    ensure!(data["kill_reason"] == "elsewhere", "{data}");
    leave(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_port_leaves_no_directory_behind() -> Result<()> {
    if server::skip_without_root("a busy port") {
        return Ok(());
    }
    let holder = tempfile::tempdir()?;
    let busy = std::net::TcpListener::bind("127.0.0.1:0")?;
    let listen = busy.local_addr()?.to_string();
    let data = holder.path().join("data");
    let mut serve = Program::new(env!("CARGO_BIN_EXE_sandscope"));
    serve.args(["serve", "--listen", &listen, "--data-dir"]).arg(&data);
    let refused = serve.kill_on_drop(true).output().await?;
    let words = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && words.contains("cannot listen on"), "{words}");
    ensure!(!data.exists(), "it made the directory");

    // That another server has the directory says more than that it has the port as well.
    let server = Server::start_with(&SMALL).await?;
    let url = server.environment().get("E2B_API_URL").context("no address")?;
    let mut serve = Program::new(env!("CARGO_BIN_EXE_sandscope"));
    serve.args(["serve", "--listen", url.trim_start_matches("http://"), "--data-dir"]).arg(server.data());
    let refused = serve.kill_on_drop(true).output().await?;
    let words = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && words.contains("another server"), "{words}");
    leave(server).await
}
