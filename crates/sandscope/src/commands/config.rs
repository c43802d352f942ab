use std::process::ExitCode;

use crate::cli::ConfigCommand;
use crate::config::Config;
use crate::output;
use crate::serve::Tls;

/// `sandscope config …`
pub(crate) fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    let ConfigCommand::Check(settings) = command;
    let config = Config::resolve(settings.with_environment())?;
    if let Some(tls) = &config.server.tls {
        Tls::load(tls)?;
    }
    output::line(config.show())?;
    Ok(ExitCode::SUCCESS)
}
