use clap::{Args, Subcommand};

use sandscope_model::Timestamp;

use super::{FormatArgs, ServerArgs, key_value, moment};

#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Create a sandbox and print its id
    #[command(visible_alias = "cr")]
    Create(CreateArgs),
    /// List sandboxes, newest first
    #[command(visible_alias = "ls")]
    List {
        /// States to list: running, paused or running,paused
        #[arg(short, long, default_value = "running,paused")]
        state: String,
        /// Maximum number of sandboxes
        #[arg(short, long, default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show one sandbox; of one that has ended, how and why: by whom, last events, samples and output
    #[command(visible_aliases = ["in", "why"])]
    Info {
        /// Sandbox id
        id: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Run a command in a sandbox and exit with its exit code
    #[command(visible_alias = "ex")]
    Exec(ExecArgs),
    /// Open a terminal in a sandbox; Ctrl-] twice leaves it
    #[command(visible_alias = "cn")]
    Connect(ConnectArgs),
    /// Print a sandbox's logs, also after it has ended
    #[command(visible_alias = "lg")]
    Logs(LogsArgs),
    /// Print a sandbox's metrics
    #[command(visible_alias = "mt")]
    Metrics {
        /// Sandbox id
        id: String,
        /// Follow until the sandbox ends
        #[arg(short, long)]
        follow: bool,
        /// Draw the last minutes as curves, every second, instead of lines
        #[arg(long, requires = "follow", conflicts_with_all = ["format", "json", "since"])]
        chart: bool,
        /// Only samples since then: RFC 3339, seconds since 1970, or an age (10m, 1h30m, 2d) [default: all]
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        since: Option<Timestamp>,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Kill sandboxes
    #[command(visible_alias = "kl")]
    Kill {
        /// Sandbox ids
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All sandboxes
        #[arg(short, long, conflicts_with = "ids")]
        all: bool,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Stop a sandbox's processes; memory and files are kept
    #[command(visible_alias = "ps")]
    Pause {
        /// Sandbox id
        id: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Resume a paused sandbox
    #[command(visible_alias = "rs")]
    Resume {
        /// Sandbox id
        id: String,
        /// Seconds until it times out [default: what it had left when it was paused]
        #[arg(long)]
        timeout: Option<u32>,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Template [default: base]
    pub template: Option<String>,
    /// Template, as an option
    #[arg(long = "template", value_name = "TEMPLATE", conflicts_with = "template")]
    pub named: Option<String>,
    /// Seconds until it times out
    #[arg(long, default_value_t = 300)]
    pub timeout: u32,
    /// Pause instead of kill at the timeout
    #[arg(long)]
    pub auto_pause: bool,
    /// Label, `key=value`; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
    /// Environment variable, `KEY=VALUE`; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub env: Vec<(String, String)>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What a process in a sandbox is given.
#[derive(Debug, Args)]
pub struct ProcessArgs {
    /// User to run as [default: the sandbox's default user]
    #[arg(short, long, value_name = "NAME")]
    pub user: Option<String>,
    /// Working directory [default: the user's home]
    #[arg(short, long, value_name = "DIRECTORY")]
    pub cwd: Option<String>,
    /// Environment variable, `KEY=VALUE`; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub env: Vec<(String, String)>,
}

/// Standard input, output and error are the command's. Ends with the command's own exit code, with 128 and the
/// signal's number if a signal ended it, with 130 after Ctrl-C, and with 125 if this program failed.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Sandbox id; it must be running
    pub id: String,
    /// The command: one argument is a script for a login shell, several are a program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Print the process id and leave the command running
    #[arg(short, long, conflicts_with = "tty")]
    pub background: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Do not forward standard input
    #[arg(short, long, conflicts_with = "tty")]
    pub no_stdin: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Sandbox id; it must be running
    pub id: String,
    #[command(flatten)]
    pub process: ProcessArgs,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Sandbox id
    pub id: String,
    /// Follow until the sandbox ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only this level and above: debug, info, warn or error
    #[arg(long, default_value = "info", value_parser = ["debug", "info", "warn", "error"], ignore_case = true)]
    pub level: String,
    /// Only entries since then: RFC 3339, seconds since 1970, or an age (30s, 10m, 1h30m, 7d) [default: seven days ago]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only entries before then
    #[arg(long, value_name = "WHEN", value_parser = moment, conflicts_with_all = ["follow", "tail"])]
    pub until: Option<Timestamp>,
    /// Only entries that contain this text
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only the last N entries, up to 1000
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "since", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub tail: Option<u32>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub enum FilesCommand {
    /// Copy files into a sandbox, out of it, or between sandboxes
    Cp(CopyArgs),
}

/// `ID:path` names a file in a sandbox; `-` is standard input or output. A copy into a directory keeps the source's
/// name.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Source: a path, ID:path or -
    pub source: String,
    /// Target: a path, ID:path or -
    pub destination: String,
    /// User of the sandbox to read and write as
    #[arg(short, long, value_name = "NAME")]
    pub user: Option<String>,
    /// Print one JSON object that lists the copied files
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}
