//! The command line.

mod alert;
mod sandbox;
mod webhook;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::ServeArgs;

pub(crate) use alert::{AlertCommand, RuleArgs};
pub(crate) use sandbox::{
    ConnectArgs, CopyArgs, CreateArgs, ExecArgs, FilesCommand, LogsArgs, ProcessArgs, SandboxCommand,
};
pub(crate) use webhook::{CreateWebhookArgs, UpdateWebhookArgs, WebhookCommand};

/// Sandboxes for AI agents on machines you own.
#[derive(Debug, Parser)]
#[command(name = "sandscope", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(Box<ServeArgs>),
    /// See everything work: a server, a sandbox under load, metrics, pause, snapshot, webhooks (under a minute)
    Demo,
    /// Work with sandboxes of a running server
    #[command(subcommand, visible_alias = "sbx")]
    Sandbox(Box<SandboxCommand>),
    /// Copy files into and out of sandboxes
    #[command(subcommand)]
    Files(FilesCommand),
    /// Show what happened to sandboxes, newest first, or as it happens
    Events(EventsArgs),
    /// Work with webhooks: register, test, see deliveries, replay, listen locally
    #[command(subcommand, visible_alias = "wh")]
    Webhook(WebhookCommand),
    /// See what fires, and make the rules by which it does
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Show the machine, for operators: sandboxes, what they were given and use, load, what the server does about it
    Node(NodeArgs),
    /// Show all sandboxes on one screen, every second
    Top(TopArgs),
    /// Manage API keys in the data directory, also beside a running server
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make certificates for HTTPS on this machine
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Work with the server's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say in words what is wrong with this host, and how to mend it
    Doctor(Box<DoctorArgs>),
    /// Prove that store, kernel and event log agree, beside a running server or without one
    Fsck(Box<FsckArgs>),
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

/// Which server, and who is asking.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Control plane's address [default: https://api.<domain> if there is one, else http://127.0.0.1:3000]
    #[arg(long, env = "E2B_API_URL", value_name = "URL")]
    pub api_url: Option<String>,
    /// Data plane's address, if it differs
    #[arg(long, env = "E2B_SANDBOX_URL", value_name = "URL")]
    pub sandbox_url: Option<String>,
    /// The server's domain, where its addresses are not given
    #[arg(long, env = "E2B_DOMAIN", value_name = "NAME")]
    pub domain: Option<String>,
    /// API key
    #[arg(long, env = "E2B_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Authority (PEM) to trust beside the system's, for an https address with a certificate of your own
    #[arg(long, env = "SANDSCOPE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Pretty,
    /// One JSON value per line
    Json,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FormatArgs {
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
pub(crate) struct EventsArgs {
    /// Of this sandbox only
    #[arg(long, value_name = "ID")]
    pub sandbox: Option<String>,
    /// Of these types only, for example killed or sandbox.lifecycle.killed
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Only kills for these reasons, for example timeout,oom
    #[arg(long = "reason", value_name = "REASON", value_delimiter = ',')]
    pub reasons: Vec<String>,
    /// Of sandboxes of this template only
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<String>,
    /// Of sandboxes with this label only, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
    /// Only what happened since then: a time (RFC 3339), or how long ago (90s, 10m, 2h, 3d)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<String>,
    /// Go on: show every event as it happens, and take up again where it was if the connection breaks
    #[arg(short, long, conflicts_with_all = ["offset", "asc"])]
    pub follow: bool,
    /// How many to skip
    #[arg(long, default_value_t = 0)]
    pub offset: u32,
    /// How many to show, 1 to 100
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
pub(crate) struct NodeArgs {
    /// The server's admin token
    #[arg(long, env = "SANDSCOPE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub admin_token: Option<String>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it: the only time it can be seen
    Create {
        /// What people call it
        #[arg(long, default_value = "key")]
        name: String,
        #[command(flatten)]
        settings: Box<ServeArgs>,
    },
    /// List keys: id, what may be shown of the key, name, when it was last used
    List {
        #[command(flatten)]
        settings: Box<ServeArgs>,
    },
    /// Delete a key; a running server refuses it within a second
    Delete {
        /// The key's id, from `key list`
        id: String,
        #[command(flatten)]
        settings: Box<ServeArgs>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check every rule and print what the server would run with, secrets hidden
    Check(Box<ServeArgs>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Make an authority for this machine and, by it, a certificate for localhost and a domain; prints what clients need
    SelfSigned {
        /// Where they are written: ca.pem, cert.pem, key.pem; none of them may be there yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Domain of sandboxes' host names
        #[arg(long, value_name = "NAME", default_value = "e2b.localhost")]
        domain: String,
        /// Days until it expires, 1 to 825 (more is refused by some clients)
        #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=825))]
        days: u16,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// One JSON document instead of words
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: ServeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// One JSON document instead of words
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: ServeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Which figures; all where none is named
    #[arg(value_enum)]
    pub figures: Vec<Figure>,
    /// Sandboxes made per create figure
    #[arg(long, default_value_t = 100)]
    pub creates: usize,
    /// Idle sandboxes for the memory and sampler figures
    #[arg(long, default_value_t = 50)]
    pub idle: usize,
    /// Sandboxes whose metrics are stored before ranges are queried
    #[arg(long, default_value_t = 1_000)]
    pub stored: usize,
    /// Days of them
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=7))]
    pub days: u32,
    /// Minutes after which storing them ends, however many days there are
    #[arg(long, default_value_t = 15)]
    pub fill_minutes: u64,
    /// Events stored before the history is queried
    #[arg(long, default_value_t = 1_000_000)]
    pub events: usize,
    /// Size of the large bodies of the edge figures, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub mib: u64,
    /// Streams that read at once
    #[arg(long, default_value_t = 1_000)]
    pub readers: usize,
    /// Deliveries per webhook figure, and a tenth as many endpoints where there are many
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    pub deliveries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Figure {
    /// Create through HTTP, 1 and 16 in flight
    Create,
    /// Memory per idle sandbox, and the server's own
    Memory,
    /// CPU the sampler takes
    Sampler,
    /// Event committed to webhook received
    Webhook,
    /// Deliveries by themselves: throughput, latency, bad company, restart, replay, idle
    Webhooks,
    /// A command, large bodies and 1,000 streams through the edge
    Edge,
    /// Pages of a long history: newest, by cursor; commits one after the other
    History,
    /// Event committed to received by many streams
    Streams,
    /// Stored metrics: bytes per sample, ranges of an hour, a day and a week; not among all
    Metrics,
    /// CPU of sampling 100, 500, 1,000 sandboxes (up to --idle) in both ways, scrape of all; not among all
    Monitoring,
    /// A picture of `top` with 100 sandboxes
    Top,
    /// Metrics beside what is known to have been used; needs stress-ng, and is not among all
    Accuracy,
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
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_shipped_unit_starts_the_server_and_leaves_sandboxes_alone_when_it_stops() {
        let unit = include_str!("../../../deploy/sandscope.service");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let cli = Cli::try_parse_from(start.split(' ')).unwrap();
        assert!(matches!(cli.command, Command::Serve(_)));
        assert!(unit.lines().any(|line| line == "KillMode=process"));
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
