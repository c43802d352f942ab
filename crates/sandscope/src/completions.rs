use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::command::Cli;
use sandscope_console::output;

/// `sandscope completions …`
pub(crate) fn run(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sandscope", &mut script);
    output::raw_stdout(&script)?;
    Ok(ExitCode::SUCCESS)
}
