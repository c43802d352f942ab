//! The sandscope binary: the server, and the commands that use it.
//!
//! One file, three roles:
//!
//! ```text
//! sandscope internal-launcher   makes sandboxes; single-threaded, started by the server, before anything else exists
//! sandscope serve | demo | bench   configuration → build → run → drain
//! sandscope sandbox | files | events …     a client like any other: only the public API
//! ```

mod bench;
mod certificate;
mod chart;
mod cli;
mod commands;
mod config;
mod demo;
mod doctor;
mod fsck;
mod keys;
mod metrics_line;
mod output;
mod serve;
mod system;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    // What is private says so where it is made; the rest must be readable inside sandboxes, whatever the shell's mask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Before any thread exists: the launcher makes namespaces, which threads do not survive.
    sandscope_runtime::linux::launcher_main(std::env::args_os().nth(1).as_deref());
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli.command)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Sandbox(command) => commands::sandbox::run(*command).await,
        Command::Files(command) => commands::files::run(command).await,
        Command::Events(arguments) => commands::events::run(arguments).await,
        Command::Top(arguments) => commands::top::run(arguments).await,
        Command::Webhook(command) => commands::webhook::run(command).await,
        Command::Alert(command) => commands::alert::run(command).await,
        Command::Node(arguments) => commands::node::run(arguments).await,
        Command::Config(command) => commands::config::run(command),
        Command::Tls(command) => commands::tls::run(command),
        Command::Key(command) => commands::key::run(command).await,
        Command::Serve(settings) => serve::run(*settings).await,
        Command::Demo => demo::run().await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Doctor(arguments) => doctor::run(*arguments).await,
        Command::Fsck(arguments) => fsck::run(*arguments).await,
        Command::Openapi => commands::openapi::run(),
        Command::Completions { shell } => commands::completions::run(shell),
    }
}
