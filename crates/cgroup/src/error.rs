use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::controller::Controller;

/// A control group could not be made, read or changed. Every error about a file carries the file.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No mounted hierarchy has a controller that sandboxes need.
    #[error("no mounted control group hierarchy has the {0} controller")]
    ControllerMissing(Controller),
    /// Neither a version 2 hierarchy nor a version 1 freezer is mounted.
    #[error("no mounted control group hierarchy can freeze processes")]
    FreezerMissing,
    /// A name that cannot be a control group's.
    #[error("{0:?} cannot be the name of a control group")]
    InvalidName(String),
    /// The kernel refused.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file does not say what it should.
    #[error("{} has no readable {what}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What was looked for in it.
        what: &'static str,
    },
    /// Something did not happen in time.
    #[error("{} did not become {state} within {} ms", path.display(), limit.as_millis())]
    Timeout {
        /// The control group.
        path: PathBuf,
        /// The state that was waited for.
        state: &'static str,
        /// For how long.
        limit: Duration,
    },
}

impl CgroupError {
    pub(crate) fn file(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::File { action, path: path.to_owned(), source: source.into() }
    }

    /// The kernel's answer, where it was the kernel that refused.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::File { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::ResourceBusy)
    }
}
