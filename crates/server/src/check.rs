use std::process::ExitCode;

use crate::http::Tls;
use clap::Subcommand;
use sandscope_config::{Config, ServeArgs};
use sandscope_console::output;

/// Commands about the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check every rule and print what the server would run with, secrets hidden
    Check(Box<ServeArgs>),
}

/// `sandscope config …`
pub fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    let ConfigCommand::Check(settings) = command;
    let config = Config::resolve(settings.with_environment())?;
    if let Some(tls) = &config.server.tls {
        Tls::load(tls)?;
    }
    output::line(config.show())?;
    Ok(ExitCode::SUCCESS)
}
