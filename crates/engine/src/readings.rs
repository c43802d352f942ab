use async_trait::async_trait;
use sandscope_model::{Counters, Details, Pressures, ProcessReading, SandboxId};

/// What sandboxes use, without power over them. Every method may be called at any time.
#[async_trait]
pub trait Readings: Send + Sync + 'static {
    /// The sandboxes that run (are not paused) right now: those worth sampling. Fast, does not wait.
    fn running(&self) -> Vec<SandboxId>;

    /// Reads what is wanted, in this order, in one call for all of it: a reading takes tens of microseconds, so what
    /// would be spent on each of a thousand calls counts. Sandboxes may be running or paused.
    async fn read(&self, wanted: Vec<Wanted>) -> Vec<(SandboxId, Result<Reading, ReadError>)>;

    /// Everything that is known of a live sandbox, running or paused. Takes about a hundred system calls.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn details(&self, id: &SandboxId) -> Result<Details, ReadError>;

    /// The processes of a live sandbox, a few thousand at most, in no particular order.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn processes(&self, id: &SandboxId) -> Result<Vec<ProcessReading>, ReadError>;
}

/// A sandbox that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The sandbox.
    pub id: SandboxId,
    /// How much of it is read.
    pub depth: Depth,
}

/// How much of a sandbox is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its counters, but [`Counters::more`].
    Counters,
    /// Its counters, also what only stored samples hold.
    Stored,
    /// The same, and its stalls.
    WithPressures,
}

/// One sandbox at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What is counted.
    pub counters: Counters,
    /// Its stalls, if they were asked for.
    pub pressures: Option<Pressures>,
}

/// Why a sandbox could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such live sandbox on this host.
    #[error("no such live sandbox on this host")]
    NotFound,
    /// A step failed.
    #[error("{step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}
