//! Arguments of the user's commands.

mod alert;
mod sandbox;
mod webhook;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sandscope_model::{Clock as _, Timestamp, when};
use sandscope_system::SystemClock;

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
pub(crate) enum Format {
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
    /// Only these types, for example killed or sandbox.lifecycle.killed [default: all]
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
    /// Only events since then: RFC 3339, seconds since 1970, or an age (90s, 10m, 1h30m, 2d)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only events before then
    #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with = "follow")]
    pub until: Option<Timestamp>,
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
    #[command(flatten)]
    pub format: FormatArgs,
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

/// The keys of `top`: in its help, and on the screen.
pub(crate) const TOP_KEYS: &str = "\
↑ ↓ PgUp PgDn   select a sandbox; Home: follow the top
Enter           look at it closely; Esc: back
/               filter by id, template, state or label; Esc: all
s  r            sort by the next column; reverse
k               kill it, after a y
p               pause or resume it, after a y
?               these keys
q  Ctrl-C       quit";

/// Keys on the screen are listed below, and by `?`.
#[derive(Debug, Args)]
#[command(after_help = TOP_KEYS)]
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

/// A time in every form that the commands take.
fn moment(text: &str) -> Result<Timestamp, String> {
    when::parse(text, SystemClock.now()).ok_or_else(|| format!("must be {}", when::FORMS))
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

    /// Every option that takes a time takes it in every form.
    #[test]
    fn a_time_is_taken_in_every_form_everywhere() {
        let commands: [&[&str]; 7] = [
            &["events", "--since"],
            &["events", "--until"],
            &["sandbox", "logs", "id", "--since"],
            &["sandbox", "logs", "id", "--until"],
            &["sandbox", "metrics", "id", "--since"],
            &["webhook", "replay", "id", "--since"],
            &["webhook", "replay", "id", "--until"],
        ];
        for command in commands {
            let read = |when: &str| Cli::try_parse_from([&["sandscope"], command, &[when]].concat());
            for when in ["1h", "10m", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05Z", "1767323045"] {
                assert!(read(when).is_ok(), "{command:?} {when}");
            }
            let refused = read("soon").unwrap_err().to_string();
            assert!(refused.contains("an age such as"), "{refused}");
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
