use std::process::ExitCode;

use crate::cli::ConfigCommand;
use crate::config::Config;
use crate::output;

/// `sandscope config …`
pub(crate) fn run(command: ConfigCommand) -> anyhow::Result<ExitCode> {
    let ConfigCommand::Check(settings) = command;
    let config = Config::resolve(settings.with_environment())?;
    output::line(config.show())?;
    Ok(ExitCode::SUCCESS)
}
