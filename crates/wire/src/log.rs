//! Logs as answered: the older answer with a line of JSON per entry, and the newer one with its fields.

use std::collections::BTreeMap;

use sandscope_model::{LogEntry, LogLevel, LogSource, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How much an entry matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever looks closely.
    Debug,
    /// The usual.
    Info,
    /// Worth a look.
    Warn,
    /// Something broke.
    Error,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

/// The level called `name`.
pub fn level(name: &str) -> Option<LogLevel> {
    LogLevel::ALL.into_iter().find(|level| level.as_str() == name)
}

/// An entry with its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxLogEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The line.
    pub message: String,
    /// How much it matters.
    pub level: Level,
    /// `logger` (`process`, or `sandscope` for the server's own), and where they apply `stream`, `pid` and
    /// `event_type`.
    pub fields: BTreeMap<String, String>,
}

/// An entry as the older answer has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxLog {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// A JSON object: `level`, `message` and the entry's fields.
    pub line: String,
}

/// The older answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxLogs {
    /// The entries as lines.
    pub logs: Vec<SandboxLog>,
    /// The same entries with their fields.
    pub log_entries: Vec<SandboxLogEntry>,
}

/// The newer answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxLogsV2Response {
    /// The entries.
    pub logs: Vec<SandboxLogEntry>,
}

impl From<LogEntry> for SandboxLogEntry {
    fn from(entry: LogEntry) -> Self {
        let (logger, stream) = match entry.source {
            LogSource::Stdout => ("process", Some("stdout")),
            LogSource::Stderr => ("process", Some("stderr")),
            LogSource::Terminal => ("process", Some("pty")),
            LogSource::Exit => ("process", None),
            LogSource::Server => ("sandscope", None),
        };
        let fields = [
            ("logger", Some(logger.to_owned())),
            ("stream", stream.map(str::to_owned)),
            ("pid", entry.pid.map(|pid| pid.to_string())),
            ("event_type", entry.event_type.map(|event_type| event_type.as_str().to_owned())),
        ];
        let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Self {
            timestamp: entry.at,
            message: entry.message,
            level: entry.level.into(),
            fields: present.collect(),
        }
    }
}

impl From<&SandboxLogEntry> for SandboxLog {
    fn from(entry: &SandboxLogEntry) -> Self {
        let mut line: serde_json::Map<String, Value> =
            entry.fields.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        line.insert("level".to_owned(), LogLevel::from(entry.level).as_str().into());
        line.insert("message".to_owned(), entry.message.clone().into());
        Self { timestamp: entry.timestamp, line: Value::Object(line).to_string() }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<Vec<LogEntry>> for SandboxLogs {
    fn from(entries: Vec<LogEntry>) -> Self {
        let log_entries: Vec<SandboxLogEntry> = entries.into_iter().map(Into::into).collect();
        Self { logs: log_entries.iter().map(Into::into).collect(), log_entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_object_whatever_the_message_contains() {
        let entry = LogEntry {
            at: "2025-08-06T20:59:24.5Z".parse().unwrap(),
            level: LogLevel::Warn,
            source: LogSource::Stderr,
            pid: Some(12),
            event_type: None,
            message: "a \"quoted\"\n\u{1b}[31m\u{0}{}".to_owned(),
        };
        let logs = SandboxLogs::from(vec![entry.clone()]);
        let line: Value = serde_json::from_str(&logs.logs[0].line).unwrap();
        assert_eq!(
            line,
            serde_json::json!({"level": "warn", "logger": "process", "message": entry.message, "pid": "12", "stream": "stderr"})
        );
        assert_eq!(level("warn"), Some(LogLevel::Warn));
        assert_eq!(level("WARN"), None);
    }
}
