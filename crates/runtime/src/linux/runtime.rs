use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sandscope_cgroup::{CgroupOptions, Cgroups};
use sandscope_model::{BuildId, Counters, Details, Exit, Pressures, ProcessReading, SandboxId};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::client::LauncherClient;
use super::layout::Layout;
use super::options::LinuxOptions;
use super::protocol::{BaseTree, Operation};
use super::remove::Removals;
use super::sandbox::{Live, Sandbox, cgroup_step};
use super::survey::Busy;
use super::warm::Shelf;
use super::{base, snapshot};
use crate::{
    Ailment, Capabilities, ConnectError, Found, LaunchSpec, Notice, Runtime, RuntimeError, Stray, Survey,
};

/// Notices that may wait to be taken. Each is held by the one task of its sandbox, so none is lost beyond that.
const NOTICES: usize = 256;

/// The Linux implementation of [`Runtime`]. See the module's head.
#[derive(Debug)]
pub struct LinuxRuntime {
    pub(super) shared: Arc<Shared>,
    notices: Mutex<Option<mpsc::Receiver<Notice>>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: LinuxOptions,
    pub(super) layout: Layout,
    pub(super) base: BaseTree,
    pub(super) cgroups: Cgroups,
    pub(super) launcher: LauncherClient,
    pub(super) removals: Removals,
    pub(super) notices: mpsc::Sender<Notice>,
    /// Sandboxes being made or removed.
    pub(super) busy: Busy,
    /// One image of each size is made at a time.
    pub(super) pristine_lock: tokio::sync::Mutex<()>,
    pub(super) shelf: Shelf,
    sandboxes: Mutex<HashMap<SandboxId, Arc<Sandbox>>>,
}

impl LinuxRuntime {
    /// Takes the state directory, prepares what every sandbox starts from, and takes hold of the control groups.
    /// Call [`recover`](Runtime::recover) next. Needs a Tokio runtime with I/O and time enabled.
    pub async fn start(options: LinuxOptions) -> Result<Self, RuntimeError> {
        let state_dir = options.state_dir.clone();
        let cgroup_options = CgroupOptions { parent: options.cgroup_parent.clone() };
        let (layout, base, cgroups) = blocking("prepare the state directory", move || {
            let layout = Layout::open(&state_dir).map_err(step("open the state directory"))?;
            let base = base::prepare(&layout.base_dir()).map_err(step("prepare the base file system"))?;
            let cgroups = Cgroups::open(&cgroup_options).map_err(cgroup_step("open control groups"))?;
            Ok((layout, base, cgroups))
        })
        .await?;
        let (notices, taken) = mpsc::channel(NOTICES);
        let launcher = LauncherClient::new(&options);
        let shared = Shared {
            options,
            layout,
            base,
            cgroups,
            launcher,
            removals: Removals::default(),
            notices,
            busy: Busy::default(),
            pristine_lock: tokio::sync::Mutex::default(),
            shelf: Shelf::default(),
            sandboxes: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared), notices: Mutex::new(Some(taken)) })
    }

    /// Finishes what is being removed and lets the launcher go. Sandboxes live on.
    pub async fn shutdown(&self) {
        self.shared.close_shelf().await;
        self.shared.removals.drain().await;
        self.shared.launcher.close().await;
    }

    /// The launcher's process, if one runs: so that operators and tests can see it replaced.
    pub async fn launcher_pid(&self) -> Option<u32> {
        self.shared.launcher.pid().await
    }
}

impl Shared {
    pub(super) fn sandboxes(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Sandbox>>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sandbox(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.sandboxes().get(id).cloned()
    }

    /// Adds a sandbox and starts the task that waits for its end.
    pub(super) fn adopt(self: &Arc<Self>, sandbox: Arc<Sandbox>) {
        self.sandboxes().insert(sandbox.id.clone(), Arc::clone(&sandbox));
        let notices = self.notices.clone();
        tokio::spawn(async move { sandbox.watch(&notices).await });
    }

    /// Connects to a port inside a sandbox that lives, listed or not.
    pub(super) async fn dial(&self, sandbox: &Sandbox, port: u16) -> Result<TcpStream, ConnectError> {
        let live = sandbox.live().ok_or(ConnectError::NotRunning)?;
        self.dial_live(&live, port).await
    }

    /// The same by the handles alone.
    pub(super) async fn dial_live(&self, live: &Live, port: u16) -> Result<TcpStream, ConnectError> {
        let socket = self.socket_inside(live).await?;
        match socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
            Ok(stream) => Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(ConnectError::PortClosed),
            Err(error) => Err(ConnectError::Socket(error)),
        }
    }

    /// A socket in the sandbox's network. That it cannot be made says nothing about the sandbox.
    pub(super) async fn socket_inside(&self, live: &Live) -> Result<TcpSocket, ConnectError> {
        let failed = |failure| ConnectError::Socket(io::Error::other(format!("{failure}")));
        let (_, mut fds) =
            self.launcher.call(Operation::Socket, &[live.network.as_fd()]).await.map_err(failed)?;
        let socket = fds.pop().ok_or_else(|| ConnectError::Socket(io::ErrorKind::NotFound.into()))?;
        Ok(TcpSocket::from_std_stream(socket.into()))
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
        in_task("make the sandbox", async move { shared.create(&spec).await }).await
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let sandbox = self.shared.alive(id)?;
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
        let sandbox = self.shared.alive(id)?;
        let thawed = Arc::clone(&sandbox);
        blocking("thaw", move || thawed.cgroup.thaw().map_err(cgroup_step("thaw the sandbox"))).await?;
        sandbox.set_paused(false);
        Ok(())
    }

    async fn checkpoint(&self, id: &SandboxId, build: BuildId) -> Result<u64, RuntimeError> {
        let sandbox = self.shared.alive(id)?;
        let (shared, target) = (Arc::clone(&self.shared), self.shared.layout.snapshot(build));
        let snapshots = shared.layout.snapshots_dir();
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
        in_task("kill the sandbox", async move { shared.kill(&id).await }).await
    }

    async fn recover(&self) -> Result<Vec<Found>, RuntimeError> {
        self.shared.recover().await
    }

    fn take_notices(&self) -> Option<mpsc::Receiver<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn check(&self, id: &SandboxId) -> Result<(), Ailment> {
        match self.shared.sandbox(id) {
            Some(sandbox) => self.shared.check(&sandbox).await,
            None => Ok(()),
        }
    }

    async fn survey(&self) -> Result<Survey, RuntimeError> {
        self.shared.survey().await
    }

    async fn remove_stray(&self, stray: &Stray) -> Result<(), RuntimeError> {
        self.shared.remove_stray(stray).await
    }

    fn running(&self) -> Vec<SandboxId> {
        let sandboxes = self.shared.sandboxes();
        sandboxes.values().filter(|sandbox| sandbox.is_running()).map(|sandbox| sandbox.id.clone()).collect()
    }

    fn counters(&self, id: &SandboxId) -> Result<Counters, RuntimeError> {
        self.shared.sandbox(id).ok_or(RuntimeError::NotFound)?.counters()
    }

    fn details(&self, id: &SandboxId) -> Result<Details, RuntimeError> {
        self.shared.sandbox(id).ok_or(RuntimeError::NotFound)?.details()
    }

    fn pressures(&self, id: &SandboxId) -> Result<Pressures, RuntimeError> {
        Ok(self.shared.sandbox(id).ok_or(RuntimeError::NotFound)?.pressures())
    }

    fn processes(&self, id: &SandboxId) -> Result<Vec<ProcessReading>, RuntimeError> {
        self.shared.sandbox(id).ok_or(RuntimeError::NotFound)?.processes()
    }

    async fn connect(&self, id: &SandboxId, port: u16) -> Result<TcpStream, ConnectError> {
        let sandbox = self.shared.sandbox(id).filter(|sandbox| sandbox.is_running());
        self.shared.dial(sandbox.as_deref().ok_or(ConnectError::NotRunning)?, port).await
    }
}

impl Shared {
    fn alive(&self, id: &SandboxId) -> Result<Arc<Sandbox>, RuntimeError> {
        self.sandbox(id).filter(|sandbox| sandbox.live().is_some()).ok_or(RuntimeError::NotFound)
    }
}

pub(super) fn step(step: &'static str) -> impl Fn(io::Error) -> RuntimeError {
    move |source| RuntimeError::Step { step, source }
}

/// Runs what waits for the kernel where waiting hurts nobody.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(step(what)(io::Error::other(error))),
    }
}

/// Runs to the end even if nobody waits for it any more.
async fn in_task<T: Send + 'static>(
    what: &'static str,
    work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
) -> Result<T, RuntimeError> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(step(what)(io::Error::other(error))),
    }
}
