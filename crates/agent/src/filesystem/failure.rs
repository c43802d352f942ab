//! What a call says of work that failed.

use std::io::{self, ErrorKind};

use sandscope_agent_protocol::{Code, ConnectError};

/// Of a file with a lease on it.
pub(crate) const HELD: &str = "somebody holds it (a lease); try again later";

pub(super) fn not_found(message: String) -> ConnectError {
    ConnectError::new(Code::NotFound, message)
}

pub(super) fn failed(what: &str, path: &str, error: &io::Error) -> ConnectError {
    let code = match error.kind() {
        ErrorKind::WouldBlock => {
            return ConnectError::new(Code::FailedPrecondition, format!("{what} '{path}': {HELD}"));
        }
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::PermissionDenied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::DirectoryNotEmpty
        | ErrorKind::AlreadyExists
        | ErrorKind::InvalidInput
        | ErrorKind::InvalidFilename
        | ErrorKind::CrossesDevices => Code::InvalidArgument,
        _ => Code::Internal,
    };
    ConnectError::new(code, format!("{what} '{path}': {error}"))
}
