use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sandscope_model::{BuildId, Counters, Details, Exit, Pressures, ProcessReading, SandboxId, Values};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::create::create;
use super::dial::dial;
use super::kill::kill;
use super::options::LinuxOptions;
use super::recover::recover;
use super::shared::Shared;
use super::step::{blocking, cgroup_step, in_task, step};
use super::{health, snapshot, survey};
use crate::{
    Ailment, Capabilities, ConnectError, Found, LaunchSpec, Notice, Runtime, RuntimeError, Stray, Survey,
};

/// Notices that may wait to be taken. Each is held by the one task of its sandbox, so none is lost beyond that.
const NOTICES: usize = 256;

/// The Linux implementation of [`Runtime`]. See the module's head.
#[derive(Debug)]
pub struct LinuxRuntime {
    shared: Arc<Shared>,
    notices: Mutex<Option<mpsc::Receiver<Notice>>>,
}

impl LinuxRuntime {
    /// Takes the state directory, prepares what every sandbox starts from, and takes hold of the control groups.
    /// Call [`recover`](Runtime::recover) next. Needs a Tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Another server uses the directory, or the host lacks what sandboxes need: see [`check_host`](super::check_host).
    pub async fn start(options: LinuxOptions) -> Result<Self, RuntimeError> {
        let (notices, taken) = mpsc::channel(NOTICES);
        let shared = Shared::open(options, notices).await?;
        Ok(Self { shared: Arc::new(shared), notices: Mutex::new(Some(taken)) })
    }

    /// Finishes what is being removed and lets the launcher go. Sandboxes live on.
    pub async fn shutdown(&self) {
        self.shared.shelf.close().await;
        self.shared.remover.drain().await;
        self.shared.launcher.close().await;
    }

    /// The launcher's process, if one runs: so that operators and tests can see it replaced.
    pub async fn launcher_pid(&self) -> Option<u32> {
        self.shared.launcher.pid().await
    }
}

#[async_trait]
impl Runtime for LinuxRuntime {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "linux", envd_version: sandscope_agent_protocol::ENVD_VERSION }
    }

    async fn create(&self, spec: &LaunchSpec) -> Result<(), RuntimeError> {
        // In a task of its own, so that a caller who goes away leaves no half-made sandbox.
        let (shared, spec) = (Arc::clone(&self.shared), spec.clone());
        in_task("make the sandbox", async move { create(&shared, &spec).await }).await
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let sandbox = self.shared.sandboxes.alive(id)?;
        sandbox.set_paused(true);
        let frozen = Arc::clone(&sandbox);
        let outcome =
            blocking("freeze", move || frozen.cgroup.freeze().map_err(cgroup_step("freeze the sandbox")))
                .await;
        if outcome.is_err() {
            sandbox.set_paused(false);
        }
        outcome
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let sandbox = self.shared.sandboxes.alive(id)?;
        let thawed = Arc::clone(&sandbox);
        blocking("thaw", move || thawed.cgroup.thaw().map_err(cgroup_step("thaw the sandbox"))).await?;
        sandbox.set_paused(false);
        Ok(())
    }

    async fn checkpoint(&self, id: &SandboxId, build: BuildId) -> Result<u64, RuntimeError> {
        let sandbox = self.shared.sandboxes.alive(id)?;
        let layout = &self.shared.layout;
        let (target, snapshots) = (layout.snapshot(build), layout.snapshots_dir());
        blocking("checkpoint", move || snapshot::capture(&sandbox, &target, &snapshots)).await
    }

    async fn delete_snapshot(&self, build: BuildId) -> Result<(), RuntimeError> {
        match tokio::fs::remove_file(self.shared.layout.snapshot(build)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(step("delete the snapshot")(error)),
            _ => Ok(()),
        }
    }

    async fn kill(&self, id: &SandboxId) -> Result<Option<Exit>, RuntimeError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        in_task("kill the sandbox", async move { kill(&shared, &id).await }).await
    }

    async fn recover(&self) -> Result<Vec<Found>, RuntimeError> {
        recover(&self.shared).await
    }

    fn take_notices(&self) -> Option<mpsc::Receiver<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn check(&self, id: &SandboxId) -> Result<(), Ailment> {
        match self.shared.sandboxes.get(id) {
            Some(sandbox) => health::check(&self.shared.launcher, &sandbox).await,
            None => Ok(()),
        }
    }

    async fn survey(&self) -> Result<Survey, RuntimeError> {
        survey::survey(&self.shared).await
    }

    async fn remove_stray(&self, stray: &Stray) -> Result<(), RuntimeError> {
        survey::remove_stray(&self.shared, stray).await
    }

    fn running(&self) -> Vec<SandboxId> {
        self.shared.sandboxes.running()
    }

    fn counters(&self, id: &SandboxId) -> Result<Counters, RuntimeError> {
        self.shared.sandboxes.get(id).ok_or(RuntimeError::NotFound)?.counters()
    }

    fn more_counters(&self, id: &SandboxId) -> Result<Values, RuntimeError> {
        self.shared.sandboxes.get(id).ok_or(RuntimeError::NotFound)?.more_counters()
    }

    fn details(&self, id: &SandboxId) -> Result<Details, RuntimeError> {
        self.shared.sandboxes.get(id).ok_or(RuntimeError::NotFound)?.details()
    }

    fn pressures(&self, id: &SandboxId) -> Result<Pressures, RuntimeError> {
        Ok(self.shared.sandboxes.get(id).ok_or(RuntimeError::NotFound)?.pressures())
    }

    fn processes(&self, id: &SandboxId) -> Result<Vec<ProcessReading>, RuntimeError> {
        self.shared.sandboxes.get(id).ok_or(RuntimeError::NotFound)?.processes()
    }

    async fn connect(&self, id: &SandboxId, port: u16) -> Result<TcpStream, ConnectError> {
        let sandbox = self.shared.sandboxes.get(id).filter(|sandbox| sandbox.is_running());
        let live = sandbox.and_then(|sandbox| sandbox.live()).ok_or(ConnectError::NotRunning)?;
        dial(&self.shared.launcher, &live, port).await
    }
}
