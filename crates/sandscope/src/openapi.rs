use std::process::ExitCode;

use sandscope_console::output;

/// `sandscope openapi`
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    output::line(sandscope_api::openapi().to_pretty_json()?)?;
    Ok(ExitCode::SUCCESS)
}
