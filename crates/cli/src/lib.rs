//! The user's commands: a client like any other, which knows only the public API.
//!
//! ```text
//! arguments ──► commands ──► sandscope_client ──► control plane, data plane
//!                  └──► console (lines), terminal (raw mode), chart and top (pictures)
//! ```
//!
//! Nothing here reaches the store or an engine: what a command needs is a documented endpoint.

mod arguments;
mod chart;
mod commands;
mod metrics_line;
mod terminal;

use std::process::ExitCode;

use clap::Subcommand;

use arguments::{AlertCommand, EventsArgs, FilesCommand, NodeArgs, SandboxCommand, TopArgs, WebhookCommand};

pub use commands::events::table as events_table;
pub use commands::top::redraw::{Redraws, redraw};
pub use metrics_line::pretty as metrics_line;

/// One of the user's commands, with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage sandboxes of a running server
    #[command(subcommand, visible_alias = "sbx")]
    Sandbox(Box<SandboxCommand>),
    /// Copy files into and out of sandboxes
    #[command(subcommand)]
    Files(FilesCommand),
    /// Show lifecycle events, newest first, or follow them live
    Events(EventsArgs),
    /// Manage webhooks: register, test, see deliveries, replay, listen locally
    #[command(subcommand, visible_alias = "wh")]
    Webhook(WebhookCommand),
    /// List firing alerts and manage rules
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Show the machine, for operators: sandboxes, their limits and use, load, the server's state
    Node(NodeArgs),
    /// Watch all sandboxes live
    Top(TopArgs),
}

/// Runs `command`; the exit code is the command's own (`exec` passes on that of the process it ran).
///
/// # Errors
///
/// Whatever keeps the command from its result: arguments that do not fit together, a server that is not reached or
/// refuses, an output that is gone.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Sandbox(command) => commands::sandbox::run(*command).await,
        Command::Files(command) => commands::files::run(command).await,
        Command::Events(arguments) => commands::events::run(arguments).await,
        Command::Webhook(command) => commands::webhook::run(command).await,
        Command::Alert(command) => commands::alert::run(command).await,
        Command::Node(arguments) => commands::node::run(arguments).await,
        Command::Top(arguments) => commands::top::run(arguments).await,
    }
}
