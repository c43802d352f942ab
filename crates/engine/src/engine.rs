use async_trait::async_trait;
use sandscope_model::{BuildId, Exit, SandboxId};
use tokio::sync::mpsc;

use crate::{Ailment, DiskStanding, EngineError, EngineProfile, Found, LaunchSpec, Notice, Stray, Survey};

/// Makes sandboxes and holds power over them.
///
/// Every operation may be repeated: asking for what already is succeeds. Operations on one sandbox are never called
/// at the same time, because its driver task is the only caller; [`check`](Self::check) may be called at any time.
/// Operations that [`EngineProfile::can`] denies keep their default here, which answers [`EngineError::Unsupported`].
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What this engine is and can do on this host. Found out once, at its start.
    fn profile(&self) -> &EngineProfile;

    /// Makes a sandbox and returns once its agent answers.
    ///
    /// # Errors
    /// [`EngineError::SnapshotMissing`], [`EngineError::BaseMissing`], [`EngineError::DiskFull`],
    /// [`EngineError::NoCapacity`], [`EngineError::AgentUnresponsive`] or the step that failed. Nothing of the sandbox
    /// remains then.
    async fn create(&self, spec: &LaunchSpec) -> Result<(), EngineError>;

    /// Stops every process of the sandbox; memory and files are kept.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if it does not live, or the step that failed: some of its processes may stop then.
    async fn pause(&self, id: &SandboxId) -> Result<(), EngineError>;

    /// Continues every process of a paused sandbox.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if it does not live, or the step that failed: some of its processes may run then.
    async fn resume(&self, id: &SandboxId) -> Result<(), EngineError>;

    /// Writes a paused sandbox's memory to disk, so that it survives a restart of the host. Keeps it in memory too.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] unless [`Capabilities::store_memory`](crate::Capabilities::store_memory).
    async fn store(&self, id: &SandboxId) -> Result<(), EngineError> {
        let _ = id;
        Err(EngineError::Unsupported("storing memory"))
    }

    /// Gives a stored sandbox's memory back to the host.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] unless [`Capabilities::store_memory`](crate::Capabilities::store_memory).
    async fn evict(&self, id: &SandboxId) -> Result<(), EngineError> {
        let _ = id;
        Err(EngineError::Unsupported("storing memory"))
    }

    /// Captures the sandbox's writable layer under `build`, for later [`create`](Self::create)s from
    /// [`Rootfs::Snapshot`](sandscope_model::Rootfs::Snapshot). The sandbox stays as it was; its processes are frozen
    /// while the layer is copied. Returns the bytes that the copy takes on disk.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if it does not live, or the step that failed: no layer remains then.
    async fn capture(&self, id: &SandboxId, build: BuildId) -> Result<u64, EngineError>;

    /// Removes a captured layer, if it exists.
    ///
    /// # Errors
    /// The step that failed.
    async fn remove_layer(&self, build: BuildId) -> Result<(), EngineError>;

    /// Ends every process of the sandbox, if it lives, and removes all that is left of it on the host. Returns what is
    /// known about its end, without a cause because the caller asked for it. No [`Notice::Ended`] follows.
    ///
    /// # Errors
    /// The step that failed; a repetition goes on from there.
    async fn kill(&self, id: &SandboxId) -> Result<Option<Exit>, EngineError>;

    /// Looks at the host after a restart of the server: takes every sandbox it finds back under its power and reports
    /// in what shape it is. Called once, before any other operation.
    ///
    /// # Errors
    /// The step that failed. Sandboxes live on.
    async fn recover(&self) -> Result<Vec<Found>, EngineError>;

    /// What happens to sandboxes although nobody asked, for each sandbox in order. `None` if taken before.
    fn take_notices(&self) -> Option<mpsc::Receiver<Notice>>;

    /// Asks a running sandbox's agent whether it answers, within a few seconds. Sandboxes that are frozen on purpose
    /// or do not exist count as well.
    ///
    /// # Errors
    /// What ails it. [`Ailment::Silent`] may pass; any other will not.
    async fn check(&self, id: &SandboxId) -> Result<(), Ailment>;

    /// Everything of this engine's on the host: what it holds, and what belongs to nothing it holds.
    ///
    /// # Errors
    /// The step that failed.
    async fn survey(&self) -> Result<Survey, EngineError>;

    /// Removes something that a survey found to belong to nothing, unless it is gone or belongs to something by now.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for a stray of another engine, or the step that failed.
    async fn remove(&self, stray: &Stray) -> Result<(), EngineError>;

    /// How the disk stands that sandboxes are kept on, as of a moment ago. `None` where the engine does not look.
    fn disk(&self) -> Option<DiskStanding> {
        None
    }

    /// Finishes what this engine does in the background, before the server's process ends. Sandboxes live on. Called
    /// last and once.
    async fn close(&self) {}
}
