use std::fmt;

/// When a task is stopped in a drain: phase after phase, from the outside in. What hands something to somebody is in an
/// earlier phase than who takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Lets requests in.
    Listen,
    /// Changes sandboxes.
    Change,
    /// Measures, decides by what is measured, keeps house.
    Observe,
    /// Collects what sandboxes wrote.
    Collect,
    /// Delivers events to webhooks.
    Deliver,
    /// Pushes to collectors.
    Export,
    /// Makes sandboxes.
    Engine,
    /// Keeps everything.
    Store,
}

impl Phase {
    /// Every phase, in the order of a drain.
    pub const ALL: [Self; 8] = [
        Self::Listen,
        Self::Change,
        Self::Observe,
        Self::Collect,
        Self::Deliver,
        Self::Export,
        Self::Engine,
        Self::Store,
    ];

    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Change => "change",
            Self::Observe => "observe",
            Self::Collect => "collect",
            Self::Deliver => "deliver",
            Self::Export => "export",
            Self::Engine => "engine",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
