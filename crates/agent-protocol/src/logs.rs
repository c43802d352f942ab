//! What processes wrote, as the agent keeps it for the server: `GET /logs?after=…&wait=…`.
//!
//! Every line gets the next number, also one that is not kept. A reader that knows the last number it has seen
//! therefore sees by the gaps how many lines are lost, however that came about.

use serde::{Deserialize, Serialize};

/// The route. Only the server itself may call it: asking for what follows a line discards that line.
pub const PATH: &str = "/logs";

/// Longest text of a line, in bytes; the rest is counted.
pub const MAX_LINE_BYTES: usize = 4 * 1024;

/// Lines in one answer at most.
pub const MAX_LINES: usize = 1000;

/// Text in one answer at most, in bytes.
pub const MAX_TEXT_BYTES: usize = 128 * 1024;

/// How long an answer may wait for a line, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 60;

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A terminal.
    Pty,
    /// Not written by the process: how it ended.
    Exit,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// The process.
    pub pid: u32,
    /// Where it comes from.
    pub source: Source,
    /// What it says, without the end of line.
    pub text: String,
    /// Bytes that were cut off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u64,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// Lines after the one asked for, in order.
    pub lines: Vec<Line>,
    /// Every line up to this number is in `lines` or lost.
    pub upto: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}
