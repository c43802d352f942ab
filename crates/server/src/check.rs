use std::process::ExitCode;

use clap::Subcommand;
use sandscope_config::{Config, ServeArgs, reference};
use sandscope_console::output;

use crate::http::Tls;

/// Commands about the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check every rule and print what the server would run with, secrets hidden
    Check(Box<ServeArgs>),
    /// Print what the server would run with and where each value comes from, secrets hidden
    Show(Box<ServeArgs>),
    /// Print the reference of all settings (docs/configuration.md)
    Reference,
}

/// `sandscope config …`
///
/// # Errors
///
/// Settings that break rules, a certificate that cannot be used (`check`), an output that is gone.
pub fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check(settings) => {
            let config = Config::resolve(settings.with_environment())?;
            if let Some(tls) = &config.server.tls() {
                Tls::load(tls)?;
            }
            output::line(config.show())?;
        }
        ConfigCommand::Show(settings) => {
            output::line(Config::resolve(settings.with_environment())?.show_sources())?;
        }
        ConfigCommand::Reference => output::line(reference().trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}
