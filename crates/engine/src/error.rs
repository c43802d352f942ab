/// The engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such live sandbox on this host.
    #[error("no such sandbox on this host")]
    NotFound,
    /// The captured layer the sandbox should start from is gone.
    #[error("the snapshot's layer is not on this host")]
    SnapshotMissing,
    /// What every root file system is made of is gone.
    #[error("the base of root file systems is not on this host")]
    BaseMissing,
    /// The host's disk is full.
    #[error("the host's disk is full: {0}")]
    DiskFull(String),
    /// The host has no room: disk, memory, ids, namespaces, open files, processes or threads.
    #[error("the host has no room: {0}")]
    NoCapacity(String),
    /// The agent did not answer in time.
    #[error("the agent did not answer in time")]
    AgentUnresponsive,
    /// This engine cannot do that on this host, which [`EngineProfile`](crate::EngineProfile) says as well. Nothing changed.
    #[error("this engine does not support {0}; `sandscope doctor` says what this host lacks")]
    Unsupported(&'static str),
    /// A step failed.
    #[error("{step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl EngineError {
    /// What the engine lacks, where it cannot do what was asked: nothing changed, and no repetition helps.
    pub const fn unsupported(&self) -> Option<&'static str> {
        match self {
            Self::Unsupported(what) => Some(what),
            _ => None,
        }
    }
}
