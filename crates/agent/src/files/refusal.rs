//! Plain HTTP refusals of work on files that failed.

use std::io::{self, ErrorKind};

use http::StatusCode;
use sandscope_agent_protocol::ConnectError;

use crate::body::Refusal;
use crate::filesystem::HELD;
use crate::pool::{self, Caller, GivenUp};

/// The plain HTTP form of an error that calls share.
pub(super) fn of_connect(error: ConnectError) -> Refusal {
    let status = StatusCode::from_u16(error.code.http_status());
    Refusal::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.message)
}

/// The refusal that reports a failed access to `path`.
pub(super) fn of_io(what: &str, path: &str, error: &io::Error) -> Refusal {
    let status = match error.kind() {
        ErrorKind::NotFound => {
            return Refusal::new(StatusCode::NOT_FOUND, format!("path '{path}' does not exist"));
        }
        ErrorKind::IsADirectory => {
            return Refusal::new(StatusCode::BAD_REQUEST, format!("path '{path}' is a directory"));
        }
        // A lease on it: the kernel would let us wait.
        ErrorKind::WouldBlock => {
            return Refusal::new(StatusCode::CONFLICT, format!("{what} '{path}': {HELD}"));
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::NotADirectory
        | ErrorKind::InvalidInput
        | ErrorKind::InvalidFilename
        | ErrorKind::AlreadyExists
        | ErrorKind::FileTooLarge => StatusCode::BAD_REQUEST,
        // Of a file that somebody cut off while it was read.
        ErrorKind::UnexpectedEof => StatusCode::CONFLICT,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StatusCode::FORBIDDEN,
        _ => match error.raw_os_error() {
            // A FIFO or a device without anybody at its other end; links in a circle; a program that runs.
            Some(libc::ENXIO | libc::ELOOP | libc::ETXTBSY) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    };
    Refusal::new(status, format!("{what} '{path}': {error}"))
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The words that clients look for when the disk is full.
pub(super) fn full(bytes: u64) -> Refusal {
    let message = format!("attempted to write {bytes} bytes: not enough disk space available");
    Refusal::new(StatusCode::INSUFFICIENT_STORAGE, message)
}

/// Runs quick work on the pool.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    pool::run(work).await.map_err(|error| given_up(&error))
}

/// Runs work on the pool that writes to the disk or waits for it.
pub(super) async fn writing<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    pool::run_writing(work).await.map_err(|error| given_up(&error))
}

/// Runs long work on the pool.
pub(super) async fn long<T: Send + 'static>(
    work: impl FnOnce(&Caller<'_>) -> T + Send + 'static,
) -> Result<T, Refusal> {
    pool::run_long(work).await.map_err(|error| given_up(&error))
}

fn given_up(error: &GivenUp) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
