//! What drivers say went wrong, in the words of the door.

use std::io::ErrorKind;

use sandscope_engine::EngineError;
use sandscope_lives::{self as lives, HostError, HostFault, RecordError, RecordFault};
use sandscope_store::StoreError;

use crate::{CreateError, RequestError};

impl From<CreateError> for lives::CreateError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::TemplateNotFound { reference } => Self::TemplateNotFound { reference },
            CreateError::TimeoutTooLong { max_hours } => Self::TimeoutTooLong { max_hours },
            CreateError::LimitReached { limit } => Self::LimitReached { limit },
            CreateError::IdempotencyMismatch => Self::IdempotencyMismatch,
            CreateError::IdempotencyInProgress => Self::IdempotencyInProgress,
            CreateError::Engine(error) => Self::Host(host(error)),
            CreateError::Store(error) => Self::Record(record(error)),
            CreateError::Broken => Self::Broken,
            CreateError::Draining => Self::Draining,
        }
    }
}

impl From<RequestError> for lives::RequestError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotFound => Self::NotFound,
            RequestError::Denied { state } => Self::Denied { state },
            RequestError::TimeoutTooLong { max_hours } => Self::TimeoutTooLong { max_hours },
            RequestError::LimitReached { limit } => Self::LimitReached { limit },
            RequestError::Busy => Self::Busy,
            RequestError::Engine(error) => Self::Host(host(error)),
            RequestError::Unreadable(error) => Self::Unreadable(Box::new(error)),
            RequestError::Store(error) => Self::Record(record(error)),
            RequestError::Broken => Self::Broken,
            RequestError::Draining => Self::Draining,
        }
    }
}

fn host(error: EngineError) -> HostError {
    let fault = match &error {
        EngineError::Unsupported(what) => HostFault::Unsupported(what),
        EngineError::NoCapacity(_) => HostFault::NoCapacity,
        EngineError::Step { source, .. } if is_out_of_files(source) => HostFault::NoCapacity,
        EngineError::DiskFull(_) => HostFault::DiskFull,
        EngineError::SnapshotMissing | EngineError::BaseMissing => HostFault::RootfsMissing,
        EngineError::Step { source, .. } if takes_nothing(source) => HostFault::DiskUnwritable,
        _ => HostFault::Other,
    };
    HostError { fault, source: Box::new(error) }
}

/// Whether the host's disk is full, read-only or failing.
fn takes_nothing(error: &std::io::Error) -> bool {
    const EIO: i32 = 5;
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
        || error.raw_os_error() == Some(EIO)
}

/// Whether the process or the host may open no further file.
fn is_out_of_files(error: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

pub(crate) fn record(error: StoreError) -> RecordError {
    let fault = match &error {
        StoreError::Full => RecordFault::Full,
        StoreError::ReadOnly => RecordFault::ReadOnly,
        StoreError::Closed => RecordFault::Closed,
        StoreError::Busy => RecordFault::Busy,
        error if error.is_unavailable() => RecordFault::Unavailable,
        _ => RecordFault::Other,
    };
    RecordError { fault, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_disk_that_takes_nothing_is_told_from_other_failures() {
        let fault = |source| host(EngineError::Step { step: "copy the disk", source }).fault;
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::ReadOnlyFilesystem] {
            assert_eq!(fault(kind.into()), HostFault::DiskUnwritable, "{kind}");
        }
        assert_eq!(fault(io::Error::from_raw_os_error(5)), HostFault::DiskUnwritable);
        assert_eq!(fault(ErrorKind::PermissionDenied.into()), HostFault::Other);
    }

    #[test]
    fn a_host_without_another_open_file_has_no_room() {
        for error in [23, 24] {
            let source = io::Error::from_raw_os_error(error);
            let fault = host(EngineError::Step { step: "draw the boot token", source }).fault;
            assert_eq!(fault, HostFault::NoCapacity, "{error}");
        }
    }

    #[test]
    fn what_may_pass_is_told_from_faults_of_our_own() {
        assert_eq!(record(StoreError::Full).fault, RecordFault::Full);
        assert_eq!(record(StoreError::from(io::Error::from_raw_os_error(5))).fault, RecordFault::Unavailable);
        assert_eq!(record(StoreError::UnknownTeam).fault, RecordFault::Other);
    }
}
