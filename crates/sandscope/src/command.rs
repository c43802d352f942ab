//! The command line's top level.

use clap::{Parser, Subcommand};
use sandscope_bench::BenchArgs;
use sandscope_server::{ConfigCommand, ServeCommand};

/// Sandboxes for AI agents on machines you own.
#[derive(Debug, Parser)]
#[command(name = "sandscope", version = sandscope_server::VERSION, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(Box<ServeCommand>),
    /// See everything work: a server, a sandbox under load, metrics, pause, snapshot, webhooks (under a minute)
    Demo,
    #[command(flatten)]
    User(Box<sandscope_cli::Command>),
    #[command(flatten)]
    Operator(sandscope_operator::Command),
    /// Work with the server's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure this machine: prints figures, promises nothing
    Bench(BenchArgs),
    /// Print the API's OpenAPI document
    Openapi,
    /// Print a script that teaches a shell to complete this command line
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_begins_with_what_this_is() {
        insta::assert_snapshot!(Cli::command().term_width(100).render_help());
    }

    #[test]
    fn the_shipped_unit_starts_the_server_and_leaves_sandboxes_alone_when_it_stops() {
        let unit = include_str!("../../../deploy/sandscope.service");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let cli = Cli::try_parse_from(start.split(' ')).unwrap();
        assert!(matches!(cli.command, Command::Serve(_)));
        assert!(unit.lines().any(|line| line == "KillMode=process"));
    }
}
