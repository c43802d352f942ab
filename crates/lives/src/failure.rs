//! What went wrong behind the door: what it means for whoever asked, and the cause for the log.

use std::error::Error;

/// The host of a sandbox could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the host failed")]
pub struct HostError {
    /// What that means for the caller.
    pub fault: HostFault,
    /// What failed.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// What a failure of a host means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFault {
    /// The host's engine cannot do that at all; here is what it lacks. Nothing changed, and trying again cannot help.
    Unsupported(&'static str),
    /// No room: disk, memory, ids or namespaces. The same request may succeed later.
    NoCapacity,
    /// No room on the disk for another sandbox. The same request may succeed later.
    DiskFull,
    /// The disk takes nothing: full, read-only or failing. The same request may succeed later.
    DiskUnwritable,
    /// What the root file system is made of is gone. Trying again cannot help.
    RootfsMissing,
    /// Anything else.
    Other,
}

/// The facts could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the facts cannot be read or written")]
pub struct RecordError {
    /// What that means for the caller.
    pub fault: RecordFault,
    /// What failed.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// What it means for the caller that nothing could be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFault {
    /// The disk is full; reads are served.
    Full,
    /// The data directory is read-only; reads are served.
    ReadOnly,
    /// What keeps the facts is being closed.
    Closed,
    /// Too much waits to be recorded.
    Busy,
    /// What keeps the facts cannot be reached. May pass.
    Unavailable,
    /// Anything else: a fault of the server's own.
    Other,
}
