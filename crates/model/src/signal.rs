//! What is pushed to an OpenTelemetry collector, as settings name it.

use std::fmt;
use std::str::FromStr;

/// A kind of what is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Figures of sandboxes.
    Metrics,
    /// What their processes wrote.
    Logs,
    /// What happened to them.
    Events,
}

impl Signal {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Events];

    /// Its name in files and figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Events => "events",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Signal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == text).ok_or(())
    }
}

/// Which kinds are exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signals(pub Vec<Signal>);

impl Signals {
    /// Whether `signal` is.
    pub fn has(&self, signal: Signal) -> bool {
        self.0.contains(&signal)
    }
}
