//! The operator's commands: they open the data directory or look at the host themselves, with or without a running
//! server.
//!
//! ```text
//! key ──► store      fsck ──► store, engine (a look), cgroup      doctor ──► host, data directory      tls ──► files
//! ```
//!
//! Nothing here reaches the server: what both need of the data directory is in `sandscope-data-dir`.

mod arguments;
pub mod certificate;
mod doctor;
mod fsck;
mod key;
mod tls;

use std::process::ExitCode;

use clap::Subcommand;

use arguments::{DoctorArgs, FsckArgs, KeyCommand, TlsCommand};

/// One of the operator's commands, with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage API keys in the data directory, also beside a running server
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make certificates for HTTPS on this machine
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Say in words what is wrong with this host, and how to mend it
    Doctor(Box<DoctorArgs>),
    /// Prove that store, kernel and event log agree, beside a running server or without one
    Fsck(Box<FsckArgs>),
}

/// Runs `command`; failure where `doctor` or `fsck` found something.
///
/// # Errors
///
/// Whatever keeps the command from its result: settings that break rules, a directory that no server made, a file that
/// cannot be read or written.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Key(command) => key::run(command).await,
        Command::Tls(command) => tls::run(command),
        Command::Doctor(arguments) => doctor::run(*arguments).await,
        Command::Fsck(arguments) => fsck::run(*arguments).await,
    }
}
