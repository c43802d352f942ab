use std::io::ErrorKind;

use sandscope_engine::{EngineError, ReadError};
use sandscope_model::StateName;
use sandscope_store::StoreError;

/// Why no sandbox was made. Nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The team can use no such template.
    #[error("template '{reference}' not found")]
    TemplateNotFound {
        /// What was asked for.
        reference: String,
    },
    /// The timeout is longer than the team may set.
    #[error("timeout cannot be greater than {max_hours} hours")]
    TimeoutTooLong {
        /// The longest it may set, in hours, rounded down but at least 1.
        max_hours: u32,
    },
    /// The team runs as many sandboxes as it may.
    #[error("the team already runs {limit} sandboxes, its limit")]
    LimitReached {
        /// How many that is.
        limit: u32,
    },
    /// The idempotency key was used before, with another request.
    #[error("the idempotency key was used with a different request")]
    IdempotencyMismatch,
    /// A request with this idempotency key is under way.
    #[error("a request with this idempotency key is still under way")]
    IdempotencyInProgress,
    /// The engine could not make it.
    #[error("the sandbox could not be started")]
    Engine(#[source] EngineError),
    /// The store could not record it.
    #[error("the sandbox could not be recorded")]
    Store(#[from] StoreError),
    /// The server failed while making it, by a fault of its own.
    #[error("the server failed while making it")]
    Broken,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

/// Why a request was refused or failed. Unless said otherwise nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The team has no such live sandbox.
    #[error("no such sandbox")]
    NotFound,
    /// Not possible in the state the sandbox is in.
    #[error("not possible while {state}")]
    Denied {
        /// That state.
        state: StateName,
    },
    /// The timeout is longer than the team may set.
    #[error("timeout cannot be greater than {max_hours} hours")]
    TimeoutTooLong {
        /// The longest it may set, in hours, rounded down but at least 1.
        max_hours: u32,
    },
    /// The team runs as many sandboxes as it may.
    #[error("the team already runs {limit} sandboxes, its limit")]
    LimitReached {
        /// How many that is.
        limit: u32,
    },
    /// Too many requests wait for this sandbox, or a change of it still has to be recorded: try again.
    #[error("the sandbox is busy")]
    Busy,
    /// The engine could not do it.
    #[error("the engine failed")]
    Engine(#[source] EngineError),
    /// What it uses could not be read.
    #[error("the sandbox cannot be read")]
    Unreadable(#[source] ReadError),
    /// The store could not record it. If the engine had already acted, recording goes on in the background.
    #[error("the change could not be recorded")]
    Store(#[from] StoreError),
    /// The server failed while doing it, by a fault of its own. What was begun is finished or undone in the background.
    #[error("the server failed while doing it")]
    Broken,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

/// Why a port of a sandbox cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is no such sandbox, or it is paused and traffic does not resume it.
    #[error("no such running sandbox")]
    NotFound,
    /// Nothing listens on the port.
    #[error("the port is not open")]
    PortClosed,
    /// Traffic would resume it, but not this caller's.
    #[error("the sandbox is paused and the caller may not resume it")]
    MayNotWake,
    /// The sandbox was still between two states when the time to wait was over.
    #[error("the sandbox is between two states")]
    Transitioning,
    /// It would have been resumed, but the team runs as many sandboxes as it may.
    #[error("the team already runs {limit} sandboxes, its limit")]
    LimitReached {
        /// How many that is.
        limit: u32,
    },
    /// It could not be resumed or reached.
    #[error("the sandbox cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why the lifecycle could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine could not look at the host.
    #[error("cannot look for the sandboxes on this host")]
    Engine(#[source] EngineError),
    /// The store could not be read, or not record what was found.
    #[error("cannot bring the store in line with the host")]
    Store(#[from] StoreError),
    /// Somebody else has already taken the engine's notices.
    #[error("the engine already serves another lifecycle")]
    NoticesTaken,
    /// A sandbox's driver stopped while it was being recovered.
    #[error("recovery was interrupted")]
    Interrupted,
}

impl CreateError {
    /// Whether the host has no room: the same request may succeed later.
    pub const fn is_no_capacity(&self) -> bool {
        matches!(self, Self::Engine(EngineError::NoCapacity(_)))
    }

    /// Whether the host's disk is full: the same request may succeed later.
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Engine(EngineError::DiskFull(_)))
    }

    /// Whether what its root filesystem is made of is gone from the host.
    pub const fn is_rootfs_missing(&self) -> bool {
        matches!(self, Self::Engine(EngineError::SnapshotMissing | EngineError::BaseMissing))
    }
}

impl RequestError {
    /// Whether the engine could not write to the host's disk: full, read-only or failing. The same request may
    /// succeed later.
    pub fn is_disk_unwritable(&self) -> bool {
        const EIO: i32 = 5;
        let Self::Engine(EngineError::Step { source, .. }) = self else { return false };
        matches!(
            source.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
        ) || source.raw_os_error() == Some(EIO)
    }

    /// Whether the host has no room: the same request may succeed later.
    pub const fn is_no_capacity(&self) -> bool {
        matches!(self, Self::Engine(EngineError::NoCapacity(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_disk_that_takes_nothing_is_told_from_other_failures() {
        let failed = |source| RequestError::Engine(EngineError::Step { step: "copy the disk", source });
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::ReadOnlyFilesystem] {
            assert!(failed(kind.into()).is_disk_unwritable(), "{kind}");
        }
        assert!(failed(io::Error::from_raw_os_error(5)).is_disk_unwritable());
        assert!(!failed(ErrorKind::PermissionDenied.into()).is_disk_unwritable());
        assert!(!RequestError::Busy.is_disk_unwritable());
    }
}
