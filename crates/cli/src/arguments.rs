//! Arguments of the user's commands.

mod alert;
mod sandbox;
mod webhook;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(crate) use alert::{AlertCommand, RuleArgs};
pub(crate) use sandbox::{
    ConnectArgs, CopyArgs, CreateArgs, ExecArgs, FilesCommand, LogsArgs, ProcessArgs, SandboxCommand,
};
pub(crate) use webhook::{CreateWebhookArgs, UpdateWebhookArgs, WebhookCommand};

/// Which server, and who is asking.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Address of the control plane [default: https://api.<domain> if there is one, else http://127.0.0.1:3000]
    #[arg(long, env = "E2B_API_URL", value_name = "URL")]
    pub api_url: Option<String>,
    /// Address of the data plane, if it differs
    #[arg(long, env = "E2B_SANDBOX_URL", value_name = "URL")]
    pub sandbox_url: Option<String>,
    /// The server's domain, if you give no addresses
    #[arg(long, env = "E2B_DOMAIN", value_name = "NAME")]
    pub domain: Option<String>,
    /// API key
    #[arg(long, env = "E2B_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Authority (PEM) to trust in addition to the system's, for a certificate of your own
    #[arg(long, env = "SANDSCOPE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table
    Pretty,
    /// One JSON value per line
    Json,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormatArgs {
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl FormatArgs {
    pub(crate) fn get(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only events of this sandbox
    #[arg(long, value_name = "ID")]
    pub sandbox: Option<String>,
    /// Only these types, for example killed or sandbox.lifecycle.killed
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Only kills for these reasons, for example timeout,oom
    #[arg(long = "reason", value_name = "REASON", value_delimiter = ',')]
    pub reasons: Vec<String>,
    /// Only sandboxes of this template
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<String>,
    /// Only sandboxes with this label, `key=value`; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
    /// Only events since a time (RFC 3339) or an age (90s, 10m, 2h, 3d)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<String>,
    /// Follow: show every event as it is committed; reconnects and loses nothing
    #[arg(short, long, conflicts_with_all = ["offset", "asc"])]
    pub follow: bool,
    /// Number of events to skip
    #[arg(long, default_value_t = 0)]
    pub offset: u32,
    /// Number of events to show, 1 to 100
    #[arg(long, default_value_t = 10)]
    pub limit: u32,
    /// Oldest first
    #[arg(long)]
    pub asc: bool,
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    pub format: Format,
    /// The same as --format json
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The server's admin token
    #[arg(long, env = "SANDSCOPE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub admin_token: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct TopArgs {
    #[command(flatten)]
    pub server: ServerArgs,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

/// A time as the API takes it, from a time or an age.
fn since(text: &str) -> Result<String, String> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let seconds = text.strip_suffix(['s', 'm', 'h', 'd']).and_then(|number| {
        let unit = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            _ => 86_400,
        };
        number.parse::<u32>().ok()?.checked_mul(unit)
    });
    let ago = seconds.map(|seconds| jiff::SignedDuration::from_secs(seconds.into()));
    let at = ago.and_then(|ago| jiff::Timestamp::now().checked_sub(ago).ok());
    at.map(|at| at.to_string()).ok_or_else(|| "must be a time (RFC 3339) or an age such as 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::Command;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn a_time_may_be_an_age() {
        let time = "2026-01-02T03:04:05Z".to_owned();
        assert_eq!(since(&time), Ok(time.clone()));
        for age in ["90s", "10m", "2h", "3d"] {
            assert!(
                since(age).unwrap().parse::<jiff::Timestamp>().unwrap() < jiff::Timestamp::now(),
                "{age}"
            );
        }
        for bad in ["", "h", "10", "10w", "-1h", "99999999d", "é"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_for_a_sandbox_is_taken_as_it_is() {
        let exec = |line: &[&str]| {
            let cli = Cli::try_parse_from([&["sandscope", "sandbox", "exec"], line].concat()).unwrap();
            match cli.command {
                Command::Sandbox(command) => match *command {
                    SandboxCommand::Exec(exec) => (exec.process.user, exec.command),
                    _ => panic!("another command"),
                },
                _ => panic!("another command"),
            }
        };
        let (user, command) = exec(&["id", "--user", "root", "ls", "--user", "-l", "--", "x"]);
        assert_eq!(user.as_deref(), Some("root"));
        assert_eq!(command, ["ls", "--user", "-l", "--", "x"]);
        assert_eq!(exec(&["id", "--", "-x"]).1, ["-x"]);
    }

    #[test]
    fn a_label_needs_a_key() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(key_value("=b").is_err());
        assert!(key_value("a").is_err());
    }
}
