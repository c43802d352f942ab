use std::sync::{Arc, Mutex};

use sandscope_engine::{EngineError, EngineProfile, Notice};
use sandscope_tasks::Tasks;
use tokio::sync::{mpsc, watch};

use super::options::LinuxOptions;
use super::pools::KernelMemory;
use super::profile;
use super::shared::Shared;

/// Notices that may wait to be taken. Each is held by the one task of its sandbox, so none is lost beyond that.
const NOTICES: usize = 256;

/// The engine of namespaces. See the module's head.
#[derive(Debug)]
pub struct NamespacesEngine {
    pub(super) shared: Arc<Shared>,
    pub(super) profile: EngineProfile,
    pub(super) notices: Mutex<Option<mpsc::Receiver<Notice>>>,
}

impl NamespacesEngine {
    /// Takes the state directory, prepares what every sandbox starts from, and takes hold of the control groups. What
    /// never ends is watched by `tasks`.
    /// Call [`recover`](sandscope_engine::Engine::recover) next. Needs a Tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Another server uses the directory, or the host lacks what sandboxes need: see [`check_host`](super::check_host).
    pub async fn start(options: LinuxOptions, tasks: Tasks) -> Result<Self, EngineError> {
        let (notices, taken) = mpsc::channel(NOTICES);
        let shared = Shared::open(options, notices, tasks).await?;
        let profile = profile::of_this_host(&shared.cgroups);
        Ok(Self { shared: Arc::new(shared), profile, notices: Mutex::new(Some(taken)) })
    }

    /// Makes a sandbox of this size for real, up to where its agent answers, and ends it (or keeps it as one made in
    /// advance). Needs no [`recover`](sandscope_engine::Engine::recover) before it, and leaves other sandboxes alone.
    ///
    /// # Errors
    ///
    /// What keeps this host from making sandboxes.
    pub async fn try_out(&self, memory_mb: u32, disk_mb: u32) -> Result<(), EngineError> {
        self.shared.shelf.try_out(memory_mb, disk_mb).await
    }

    /// Finishes what is being removed and lets the launcher go. Sandboxes live on.
    pub async fn shutdown(&self) {
        self.shared.room.close().await;
        self.shared.shelf.close().await;
        self.shared.remover.drain().await;
        self.shared.launcher.close().await;
    }

    /// What the watch over the kernel's memory says of itself.
    pub fn kernel_memory(&self) -> watch::Receiver<KernelMemory> {
        self.shared.kernel_memory.subscribe()
    }

    /// The launcher's process, if one runs: so that operators and tests can see it replaced.
    pub async fn launcher_pid(&self) -> Option<u32> {
        self.shared.launcher.pid().await
    }
}
