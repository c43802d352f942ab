//! `sandscope demo`: the main job on real input, watched.
//!
//! ```text
//! server (free port, temporary data directory) ◄── client ── story: create, load, metrics, timeout, pause, resume,
//!    └── webhooks ──► receiver (free port, own signature check)           snapshot, create from it, kill, history
//! ```
//!
//! Everything it makes it removes again: sandboxes are killed and the data directory is deleted, also when a step fails
//! or the user presses Ctrl-C. Any miss makes the exit code 1.

mod stage;
mod story;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sandscope_client::{Client, ClientOptions};

use sandscope_config::{Config, ServeArgs};
use sandscope_model::keys;
use sandscope_server::{Running, Signals, Told};
use sandscope_system::OsEntropy;

use stage::Stage;

/// The whole demo's bound: longer means something hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// How long cleaning up may take.
const CLEAN_UP: Duration = Duration::from_secs(20);

/// Runs it.
///
/// # Errors
/// If the server does not start or a step of the demo fails.
pub async fn run() -> anyhow::Result<ExitCode> {
    let mut signals = Signals::take(false)?;
    let directory = tempfile::Builder::new().prefix("sandscope-demo-").tempdir()?;
    let mut stage = Stage::new();
    stage.title("Sandscope demo: one server, real sandboxes, every kind of event")?;

    let key = keys::draw(&OsEntropy);
    let log = std::env::var("SANDSCOPE_LOG").unwrap_or_else(|_| "warn".to_owned());
    let data_dir = directory.path().join("data");
    let settings = ServeArgs::default()
        .with("server", "listen", "127.0.0.1:0")
        .with("server", "data_dir", data_dir.to_string_lossy().into_owned())
        .with("server", "dev", true)
        .with("server", "drain_timeout_s", 5)
        .with("server", "first_api_key", key.expose())
        .with("log", "filter", log);
    let config = Config::resolve(settings)?;
    sandscope_telemetry::init(&config.log.filter, config.log.format)?;
    let server = Running::start(&config, Told::default()).await?;
    stage.done(format_args!("server ready on {}", server.addresses().api_url))?;
    let api_url = server.addresses().api_url.clone();
    let options = ClientOptions { api_url, sandbox_url: None, api_key: key.expose().to_owned() };
    let client = Client::new(&options)?;

    let outcome = tokio::select! {
        outcome = tokio::time::timeout(LIMIT, story::show(&client, &mut stage)) =>
            outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the demo did not end within {} s", LIMIT.as_secs()))),
        name = signals.stop() => Err(anyhow::anyhow!("stopped by {name}")),
        failure = server.failed() => Err(failure.into()),
    };
    let cleaned = tokio::time::timeout(CLEAN_UP, clean_up(&client, server)).await;
    let cleaned = cleaned.context("cleaning up took too long").and_then(|done| done);
    outcome?;
    cleaned?;
    directory.close().context("cannot remove the temporary data directory")?;
    stage.done("cleaned up: sandboxes killed, server stopped, data removed")?;
    stage.finish()
}

/// Sandboxes outlive a server, so they are ended before it stops.
async fn clean_up(client: &Client, server: Running) -> anyhow::Result<()> {
    let killed = kill_all(client).await;
    let drained = server.drain().await;
    killed?;
    Ok(drained?)
}

async fn kill_all(client: &Client) -> anyhow::Result<()> {
    for sandbox in client.sandboxes("running,paused", usize::MAX).await? {
        match client.kill(&sandbox.sandbox_id).await {
            Err(error) if error.status() != Some(404) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
