//! What the codes of SQLite mean to whoever called the store.

use rusqlite::ErrorCode;

use crate::error::StoreError;
use crate::failure::Failure;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Busy,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Io(Failure::new(error)),
            _ => Self::Sqlite(Failure::new(error)),
        }
    }
}
