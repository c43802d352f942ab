use crate::failure::{Doing, Failure};

/// Why the store could not do what it was asked. What failed beneath it is kept as its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The row is no longer at the generation the change was made from.
    #[error("the sandbox was changed by somebody else")]
    Conflict,
    /// No such team.
    #[error("no such team")]
    UnknownTeam,
    /// The disk is full; reads still work.
    #[error("the disk of the data directory is full")]
    Full,
    /// The data directory cannot be written; reads still work.
    #[error("the data directory is read-only")]
    ReadOnly,
    /// Another process held the file, or the queue stayed full, for longer than the busy timeout.
    #[error("the store is busy")]
    Busy,
    /// The disk or the file system failed.
    #[error("the data directory cannot be accessed: {0}")]
    Io(#[source] Failure),
    /// A row holds something that makes no sense.
    #[error("the store holds a value that makes no sense: {table}.{column} of row {row}")]
    Corrupt {
        /// In which table.
        table: &'static str,
        /// In which column.
        column: &'static str,
        /// Which row, by its first column.
        row: String,
    },
    /// The files were written by a newer version.
    #[error("{file} was written by a newer version (schema {found}, this version knows {known})")]
    TooNew {
        /// Which file.
        file: &'static str,
        /// Its schema version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A webhook's secrets were sealed with a key that is not at hand.
    #[error("webhook secrets are sealed with a key this server was not given")]
    Sealed,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The operation panicked: a fault of the store. It was undone alone.
    #[error("an operation of the store broke and was undone: {0}")]
    Broken(#[source] Failure),
    /// Anything else SQLite says.
    #[error("the store failed: {0}")]
    Sqlite(#[source] Failure),
    /// A value cannot be brought into the form it is stored in: a fault of the store.
    #[error("a value has no stored form: {0}")]
    NoForm(#[source] Failure),
}

impl StoreError {
    /// Whether the store cannot serve for a reason outside of it (disk, other processes, shutdown): the caller
    /// answers "service unavailable" and says why.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Full | Self::ReadOnly | Self::Busy | Self::Io(_) | Self::Closed)
    }

    /// The same with what was being done, to which file: known to whoever runs operations, not to these themselves.
    pub(crate) fn at(self, doing: Doing, file: &'static str) -> Self {
        match self {
            Self::Io(failure) => Self::Io(failure.at(doing, file)),
            Self::Sqlite(failure) => Self::Sqlite(failure.at(doing, file)),
            Self::Broken(failure) => Self::Broken(failure.at(doing, file)),
            Self::NoForm(failure) => Self::NoForm(failure.at(doing, file)),
            other @ (Self::Conflict
            | Self::UnknownTeam
            | Self::Full
            | Self::ReadOnly
            | Self::Busy
            | Self::Corrupt { .. }
            | Self::TooNew { .. }
            | Self::Sealed
            | Self::Closed) => other,
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Io(Failure::new(error)),
        }
    }
}
