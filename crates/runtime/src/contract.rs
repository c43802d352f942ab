use std::collections::BTreeMap;

use async_trait::async_trait;
use sandscope_model::{
    BuildId, Counters, Details, ExecutionId, Exit, Pressures, ProcessReading, Rootfs, SandboxId, Secret,
    TemplateId,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What makes sandboxes and holds power over them.
///
/// Every operation may be repeated: asking for what already is succeeds. Operations on one sandbox are never called
/// at the same time (its driver task is the only caller), except readings
/// and [`connect`](Self::connect).
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What this runtime can do on this host.
    fn capabilities(&self) -> Capabilities;

    /// Makes a sandbox and returns once its agent answers. On failure nothing of it remains.
    async fn create(&self, spec: &LaunchSpec) -> Result<(), RuntimeError>;

    /// Stops every process of the sandbox; memory and files are kept.
    async fn pause(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Continues every process of a paused sandbox.
    async fn resume(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Captures the sandbox's writable layer under `build`, for later [`create`](Self::create)s from
    /// [`Rootfs::Snapshot`]. The sandbox runs on; its processes stand still while the layer is copied. Returns the
    /// bytes the copy takes on disk.
    async fn checkpoint(&self, id: &SandboxId, build: BuildId) -> Result<u64, RuntimeError>;

    /// Removes a captured layer. Gone is fine.
    async fn delete_snapshot(&self, build: BuildId) -> Result<(), RuntimeError>;

    /// Ends every process of the sandbox and removes all that is left of it on the host. Gone is fine. Returns how
    /// its first process ended where that is known. No [`ExitNotice`] follows a kill that was asked for.
    async fn kill(&self, id: &SandboxId) -> Result<Option<Exit>, RuntimeError>;

    /// Looks at the host after a restart of the server: takes every sandbox it finds back under its power and says
    /// in what shape it is. Called once, before any other operation.
    async fn recover(&self) -> Result<Vec<Found>, RuntimeError>;

    /// The exits nobody asked for. Can be taken once.
    fn take_exits(&self) -> Option<mpsc::Receiver<ExitNotice>>;

    /// The sandboxes that run (not paused) right now: those worth sampling.
    fn running(&self) -> Vec<SandboxId>;

    /// Reads the kernel's counters. Fast (tens of microseconds) and without waiting.
    fn counters(&self, id: &SandboxId) -> Result<Counters, RuntimeError>;

    /// Everything the kernel says about a live sandbox, running or paused. About a hundred system calls: blocks.
    fn details(&self, id: &SandboxId) -> Result<Details, RuntimeError>;

    /// Its stalls alone. Fast and without waiting.
    fn pressures(&self, id: &SandboxId) -> Result<Pressures, RuntimeError>;

    /// Its processes, a few thousand at most, in no particular order. Blocks for a few system calls each.
    fn processes(&self, id: &SandboxId) -> Result<Vec<ProcessReading>, RuntimeError>;

    /// Connects to `127.0.0.1:port` inside the sandbox.
    async fn connect(&self, id: &SandboxId, port: u16) -> Result<TcpStream, ConnectError>;
}

/// What a runtime can do on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Its name, for people.
    pub name: &'static str,
    /// Version of the envd protocol its agent speaks.
    pub envd_version: &'static str,
}

/// What a sandbox is made of.
#[derive(Debug, Clone)]
pub struct LaunchSpec {
    /// The sandbox.
    pub id: SandboxId,
    /// Its first execution.
    pub execution_id: ExecutionId,
    /// Its template, for its environment.
    pub template_id: TemplateId,
    /// What its root filesystem starts from.
    pub rootfs: Rootfs,
    /// CPUs.
    pub vcpu_count: u32,
    /// Memory limit, in MiB.
    pub memory_mb: u32,
    /// Size of the writable layer, in MiB.
    pub disk_mb: u32,
    /// Environment of every process started in it.
    pub env_vars: BTreeMap<String, String>,
    /// Token the agent asks for, if any.
    pub access_token: Option<Secret>,
}

/// A sandbox ended although nobody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitNotice {
    /// Which.
    pub id: SandboxId,
    /// How.
    pub exit: Exit,
}

/// A sandbox found on the host after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: SandboxId,
    /// In what shape.
    pub state: FoundState,
}

/// In what shape a sandbox was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundState {
    /// Alive and running.
    Running,
    /// Alive and paused.
    Paused,
    /// Dead; its traces are still there until it is killed. `None` where nobody saw how it ended, as after a restart
    /// of the host.
    Dead(Option<Exit>),
}

/// The runtime could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no such sandbox on this host.
    #[error("no such sandbox on this host")]
    NotFound,
    /// The captured layer the sandbox should start from is gone.
    #[error("the snapshot's layer is not on this host")]
    SnapshotMissing,
    /// The host has no room: disk, memory, ids or namespaces.
    #[error("the host has no room: {0}")]
    NoCapacity(String),
    /// The agent did not answer in time.
    #[error("the agent did not answer in time")]
    AgentUnresponsive,
    /// A step failed.
    #[error("{step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A port of a sandbox could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no such sandbox, or it is paused.
    #[error("no such running sandbox")]
    NotRunning,
    /// Nothing listens there.
    #[error("port is not open")]
    PortClosed,
    /// The socket could not be made.
    #[error("cannot make a socket inside the sandbox")]
    Socket(#[source] std::io::Error),
}
