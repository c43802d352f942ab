//! Messages of `process.Process`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Blob;
use crate::proto_json::{is_default, null_default};

/// The service's path prefix.
pub const SERVICE: &str = "process.Process";

/// Largest piece of standard output or error in one event, in bytes.
pub const OUTPUT_CHUNK_BYTES: usize = 32 * 1024;

/// Largest piece of terminal output in one event, in bytes.
pub const PTY_CHUNK_BYTES: usize = 16 * 1024;

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    /// Program, looked up in `PATH` unless it has a slash.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub cmd: String,
    /// Arguments after the program's name.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub args: Vec<String>,
    /// Environment over the sandbox's own.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub envs: BTreeMap<String, String>,
    /// Working directory; the user's where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PtySize {
    /// Width, in columns.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub cols: u32,
    /// Height, in rows.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub rows: u32,
}

/// A terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pty {
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<PtySize>,
}

/// Names a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessSelector {
    /// By its id.
    Pid(u32),
    /// By the tag it was started with.
    Tag(String),
}

/// `Start`: runs a process and streams its events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartRequest {
    /// What to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessConfig>,
    /// Run it on a terminal of this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pty: Option<Pty>,
    /// A name to find it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether standard input is a pipe (`true` or absent) or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<bool>,
}

/// `Connect`, `CloseStdin`: a process and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessRequest {
    /// Which one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSelector>,
}

/// `Update`: changes a terminal's size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateRequest {
    /// Which process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSelector>,
    /// Its terminal's new size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pty: Option<Pty>,
}

/// Bytes for a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessInput {
    /// For its standard input.
    Stdin(Blob),
    /// For its terminal.
    Pty(Blob),
}

/// The message of `SendInput`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendInputRequest {
    /// Which process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSelector>,
    /// What it shall read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<ProcessInput>,
}

/// A message of the `StreamInput` stream; the first one is `Start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamInputRequest {
    /// Says which process.
    Start(ProcessRequest),
    /// Bytes for it.
    Data {
        /// What it shall read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<ProcessInput>,
    },
    /// The client is alive.
    Keepalive {},
}

/// A signal that clients may send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// None was named.
    #[default]
    #[serde(rename = "SIGNAL_UNSPECIFIED")]
    Unspecified,
    /// Please end.
    #[serde(rename = "SIGNAL_SIGTERM")]
    Sigterm,
    /// End at once.
    #[serde(rename = "SIGNAL_SIGKILL")]
    Sigkill,
}

/// The message of `SendSignal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendSignalRequest {
    /// Which process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSelector>,
    /// Which signal.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub signal: Signal,
}

/// One running process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessInfo {
    /// What it was started with.
    pub config: ProcessConfig,
    /// Its id.
    pub pid: u32,
    /// Its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Answer of `List`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListResponse {
    /// Running processes, by id.
    #[serde(skip_serializing_if = "is_default")]
    pub processes: Vec<ProcessInfo>,
}

/// Output of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// From its standard output.
    Stdout(Blob),
    /// From its standard error.
    Stderr(Blob),
    /// From its terminal.
    Pty(Blob),
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndEvent {
    /// Exit code; -1 if a signal ended it.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub exit_code: i32,
    /// Whether it ended by itself, not by a signal.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub exited: bool,
    /// In words: `exit status 1`, `signal: killed`.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub status: String,
    /// The same words, present unless it ended with code 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An event of a process stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessEvent {
    /// It runs. Always first.
    Start {
        /// Its id.
        pid: u32,
    },
    /// It wrote.
    Data(Output),
    /// It ended. Always last.
    End(EndEvent),
    /// Nothing new.
    Keepalive {},
}

/// A message of the `Start` and `Connect` streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessResponse {
    /// What happened.
    pub event: ProcessEvent,
}

impl From<ProcessEvent> for ProcessResponse {
    fn from(event: ProcessEvent) -> Self {
        Self { event }
    }
}
