use tokio_util::sync::CancellationToken;

use crate::{Backoff, Phase};

/// What follows when a task ends although nobody stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It starts again, ever later; too often within a while counts as fatal.
    Restart(Backoff),
    /// The server drains and exits with an error, so that its service manager starts it again.
    Fatal,
    /// One name for many members; the code that started a member starts it again.
    Crew,
}

impl Policy {
    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart(_) => "restart",
            Self::Fatal => "fatal",
            Self::Crew => "crew",
        }
    }
}

/// A task about to be started, which starts again when it fails.
#[derive(Debug, Clone)]
pub struct Task {
    pub(crate) name: &'static str,
    pub(crate) phase: Phase,
    pub(crate) backoff: Backoff,
    pub(crate) stop: Option<CancellationToken>,
}

impl Task {
    /// A task whose state is safe to begin anew, with the usual backoff.
    pub fn restart(name: &'static str, phase: Phase) -> Self {
        Self { name, phase, backoff: Backoff::default(), stop: None }
    }

    /// Its life may end once `stop` is cancelled, rather than once its phase is drained.
    #[must_use]
    pub fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop: Some(stop), ..self }
    }
}
