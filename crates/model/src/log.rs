//! What the processes of a sandbox wrote, and what the server has to say about the sandbox, line by line.

use crate::{EventType, Timestamp};

/// How much an entry matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Details for debugging.
    Debug,
    /// The usual.
    Info,
    /// Worth a look.
    Warn,
    /// Something broke.
    Error,
}

impl LogLevel {
    /// From the least to the most important.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The source of an entry's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogSource {
    /// A process's standard output.
    Stdout,
    /// A process's standard error.
    Stderr,
    /// What a process showed on its terminal.
    Terminal,
    /// How a process ended.
    Exit,
    /// The server's own.
    Server,
}

impl LogSource {
    /// Every source.
    pub const ALL: [Self; 5] = [Self::Stdout, Self::Stderr, Self::Terminal, Self::Exit, Self::Server];
}

/// One line of a sandbox's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When. What is about to be stored says when it claims to be from; see the store for what becomes of it.
    pub at: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// The source of its text.
    pub source: LogSource,
    /// The process, inside the sandbox.
    pub pid: Option<u32>,
    /// The lifecycle event it reports, on the server's own.
    pub event_type: Option<EventType>,
    /// The line. A sandbox's words are nobody's promise: code that shows them has to mind what they contain.
    pub message: String,
}
