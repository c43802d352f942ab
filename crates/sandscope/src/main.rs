//! The sandscope binary: the server, and the commands that use it.
//!
//! One file, three roles:
//!
//! ```text
//! sandscope internal-launcher   makes sandboxes; single-threaded, started by the server, before anything else exists
//! sandscope serve | demo | bench   configuration → build → run → drain
//! sandscope sandbox | files | events …     a client like any other: only the public API
//! ```
//!
//! Here is only the choice between them; each is a crate of its own.

#![warn(clippy::disallowed_methods)]

mod command;
mod completions;
mod openapi;

use std::process::ExitCode;

use clap::Parser as _;
use sandscope_console::output;

use crate::command::{Cli, Command};

fn main() -> ExitCode {
    // What is private says so where it is made; the rest must be readable inside sandboxes, whatever the shell's mask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Before any thread exists: the launcher makes namespaces, which threads do not survive.
    sandscope_engine_namespaces::linux::launcher_main(std::env::args_os().nth(1).as_deref());
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
        Command::User(command) => sandscope_cli::run(*command).await,
        Command::Operator(command) => sandscope_operator::run(command).await,
        Command::Serve(settings) => sandscope_server::run(*settings).await,
        Command::Config(command) => sandscope_server::config(command),
        Command::Demo => sandscope_demo::run().await,
        Command::Bench(arguments) => sandscope_bench::run(arguments).await,
        Command::Openapi => openapi::run(),
        Command::Completions { shell } => completions::run(shell),
    }
}
