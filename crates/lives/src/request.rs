use std::sync::Arc;

use sandscope_model::{Build, Sandbox, Template, Timestamp};

/// A sandbox that runs, and for at least as long as asked.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The sandbox.
    pub sandbox: Arc<Sandbox>,
    /// Whether it had to be resumed.
    pub resumed: bool,
}

/// What a snapshot is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotName {
    /// Its name in the team, without namespace.
    pub name: String,
    /// Its tag, usually `default`.
    pub tag: String,
}

/// A snapshot: its template, the build made by this checkpoint, and the tag that now points to it.
pub type Snapshot = (Template, Build, String);

/// What a look found.
#[derive(Debug, Clone)]
pub struct Look<T> {
    /// The sandbox at that moment.
    pub sandbox: Arc<Sandbox>,
    /// When it was looked at.
    pub at: Timestamp,
    /// What was found.
    pub found: T,
}
