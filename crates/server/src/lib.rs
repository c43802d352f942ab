//! `sandscope serve`: configuration → build → run → drain.
//!
//! ```text
//!                        ┌───────────── one port ─────────────┐
//! clients ─► Http ─► edge ─(E2b-Sandbox-Id or host name)─► Lives::dial ─► agent in the sandbox
//!                      └──► api ─► Lives ◄─ Lifecycle ─► Engine (launcher process) ─► sandboxes
//!                                      │ commit
//!                                      ▼
//!                                    Store ◄── Sampler (counters)      Store ──feed──► Webhooks ─► receivers
//!                                                                        └───cursors──► Otlp ─► collector
//! ```
//!
//! Nothing is printed on standard output before everything runs. Stopping goes from the outside in: no new
//! connections, requests under way are answered, transitions under way finish, webhook attempts under way get a moment,
//! the store flushes. Sandboxes are not part of it: they live on and are found again by the next start.
//!
//! Everything that must never end is started through `tasks`. When one of them fails for good the server stops in the
//! same order and exits with an error, so that its service manager starts it again.

mod addresses;
mod bootstrap;
mod check;
mod egress;
mod engine;
mod export;
mod http;
mod node;
mod operator;
mod parts;
mod ports;
mod requests;
mod retention;
mod running;
mod signals;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use sandscope_config::{Config, ServeArgs};
use sandscope_console::output;

pub use check::{ConfigCommand, run as config};
pub use running::Running;
pub use sandscope_data_dir::Told;
pub use signals::Signals;

use signals::Asked;

/// The version, with the beginning of the commit that it was built from where that is known.
pub const VERSION: &str = env!("SANDSCOPE_VERSION");

/// `sandscope serve`: the settings, and what is said once about the data directory.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeCommand {
    /// Use a data directory that was copied, restored or brought from another host: its sandboxes are ended in its log,
    /// and nothing is delivered until --deliver
    #[arg(long)]
    pub adopt: bool,
    /// Let a data directory that was adopted deliver webhooks and export again, from now on
    #[arg(long)]
    pub deliver: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: ServeArgs,
}

/// Runs the server until it is asked to stop.
///
/// # Errors
/// If the configuration is invalid, or the server cannot start or fails while it runs.
pub async fn run(command: ServeCommand) -> anyhow::Result<ExitCode> {
    let ServeCommand { adopt, deliver, settings } = command;
    let args = settings.with_environment();
    let config = Config::resolve(args.clone())?;
    sandscope_telemetry::init(&config.log.filter, config.log.format)?;
    // With nothing to read again SIGHUP keeps its meaning: the terminal is gone, and so is the server.
    let mut signals = Signals::take(config.server.tls().is_some() || args.config.is_some())?;
    let server = tokio::select! {
        server = Running::start(&config, Told { adopt, deliver }) => server?,
        name = signals.stop() => {
            // Whatever was under way is found again by the next start, as after a crash.
            tracing::info!(signal = name, "stopped while starting");
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Err(error) = output::line(server.addresses().lines(server.first_key())) {
        tracing::warn!(%error, "nobody reads standard output; serving all the same");
    }
    let url = &server.addresses().api_url;
    tracing::info!(url, address = %server.address(), data_dir = %config.server.data_dir.display(), "ready");
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            failure = server.failed() => {
                tracing::error!(%failure, "draining, because the server cannot go on; a signal stops at once");
                break;
            }
        };
        match asked {
            Asked::Stop(name) => {
                tracing::info!(signal = name, "draining; a second signal stops at once");
                break;
            }
            Asked::Reload => server.reload(Config::resolve(args.clone())),
        }
    }
    tokio::select! {
        drained = server.drain() => {
            signals::report("after the drain");
            drained.context("the server has stopped, because it cannot go on without one of its tasks; start it again")?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        name = signals.stop() => {
            tracing::warn!(signal = name, "stopping at once");
            Ok(ExitCode::FAILURE)
        }
    }
}
