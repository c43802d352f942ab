//! Our own logs: structured records on standard error, never on standard output (which belongs to the commands),
//! and figures in the text that Prometheus scrapes.
//!
//! Levels: `error` needs somebody now, `warn` will need somebody, `info` is the server's life, `debug` is one line
//! per request or transition, `trace` everything. Field names are fixed: `sandbox_id`, `team_id`, `webhook_id`,
//! `event_id`. Secrets have a type whose `Debug` prints a placeholder; nothing here sees them.

#![warn(clippy::disallowed_methods)]

pub mod exposition;
pub mod histogram;
mod json;

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

/// How records are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One line of text per record.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The name used in flags and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        [Self::Auto, Self::Text, Self::Json]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or(TelemetryError::UnknownFormat)
    }
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log filter is malformed: {0}")]
    Filter(String),
    /// No such format.
    #[error("log format must be one of auto, text, json")]
    UnknownFormat,
    /// Somebody set up logging before.
    #[error("logging is already set up")]
    AlreadySet,
}

/// Whether `filter` can be read, for example `info,sandscope_webhooks=debug`.
///
/// # Errors
/// [`TelemetryError::Filter`] with the reason if it cannot be parsed.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(|_| ())
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(filter).map_err(|error| TelemetryError::Filter(error.to_string()))
}

/// Sends this process's records to standard error. To be called once.
///
/// # Errors
/// [`TelemetryError`] if the filter cannot be parsed or the process already has a subscriber.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(parse(filter)?).with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let done = if json {
        builder.fmt_fields(JsonFields::new()).event_format(json::Flat).try_init()
    } else {
        builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).try_init()
    };
    done.map_err(|_| TelemetryError::AlreadySet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        assert!(check_filter("info,sandscope_webhooks=debug").is_ok());
        assert!(matches!(check_filter("sandscope=[[["), Err(TelemetryError::Filter(_))));
    }

    #[test]
    fn a_format_is_read_by_its_name() {
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
