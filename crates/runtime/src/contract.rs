use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use sandscope_model::{
    BuildId, Cause, Counters, Details, ExecutionId, Exit, Pressures, ProcessReading, Rootfs, SandboxId,
    Secret, TemplateId, Values,
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

    /// Ends every process of the sandbox and removes all that is left of it on the host. Gone is fine. Returns what is
    /// known about its end, without a cause: it was asked for. No [`Notice::Ended`] follows.
    async fn kill(&self, id: &SandboxId) -> Result<Option<Exit>, RuntimeError>;

    /// Looks at the host after a restart of the server: takes every sandbox it finds back under its power and says
    /// in what shape it is. Called once, before any other operation.
    async fn recover(&self) -> Result<Vec<Found>, RuntimeError>;

    /// What happens to sandboxes although nobody asked, each sandbox's in its order. Can be taken once.
    fn take_notices(&self) -> Option<mpsc::Receiver<Notice>>;

    /// Asks a running sandbox's agent whether it is there, within a few seconds. One that stands still on purpose is
    /// not asked. May be called at any time.
    ///
    /// # Errors
    /// What ails it. [`Ailment::Silent`] may pass; any other will not.
    async fn check(&self, id: &SandboxId) -> Result<(), Ailment>;

    /// Everything of this runtime's on the host: what it holds, and what belongs to nothing it holds.
    async fn survey(&self) -> Result<Survey, RuntimeError>;

    /// Removes something a survey found to belong to nothing. Gone is fine.
    async fn remove_stray(&self, stray: &Stray) -> Result<(), RuntimeError>;

    /// The sandboxes that run (not paused) right now: those worth sampling.
    fn running(&self) -> Vec<SandboxId>;

    /// Reads the kernel's counters. Fast (tens of microseconds) and without waiting.
    fn counters(&self, id: &SandboxId) -> Result<Counters, RuntimeError>;

    /// What stored samples hold beyond the [counters](Self::counters), by field: levels, and totals so far since the
    /// sandbox was created where the catalogue stores what was added. Absent where the kernel does not report it.
    /// Fast (under a hundred microseconds) and without waiting.
    fn more_counters(&self, id: &SandboxId) -> Result<Values, RuntimeError>;

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

/// Something happened to a sandbox although nobody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It ended.
    Ended {
        /// Which.
        id: SandboxId,
        /// What is known about it, its cause included.
        exit: Exit,
    },
    /// The kernel killed processes of it for lack of memory, and it lives on. May be told again.
    OutOfMemory {
        /// Which.
        id: SandboxId,
        /// How many, over the sandbox's whole life.
        n_oom_kills: u64,
    },
}

/// What is wrong with a sandbox whose processes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ailment {
    /// Its agent did not answer in time, or not as an agent does. It may be overloaded.
    #[error("its agent does not answer")]
    Silent,
    /// It is no longer held in its control groups: its limits do not hold.
    #[error("its control groups were removed")]
    ControlGroupsRemoved,
}

impl Ailment {
    /// What it dies of, if it does.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Silent => Cause::AgentSilent,
            Self::ControlGroupsRemoved => Cause::ControlGroupsRemoved,
        }
    }
}

/// What a look at the host found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The sandboxes the runtime holds, in whatever shape.
    pub sandboxes: Vec<SandboxId>,
    /// The captured layers.
    pub layers: Vec<BuildId>,
    /// What belongs to no sandbox the runtime holds, makes or removes.
    pub strays: Vec<Stray>,
}

/// Something left behind on the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stray {
    /// A sandbox's control groups. Other servers of the same host keep theirs in the same place: whose it is only the
    /// caller can know.
    ControlGroups(SandboxId),
    /// A sandbox's directory, with its disk.
    Directory(SandboxId),
    /// A loop device that shows a file of the runtime's.
    LoopDevice(u32),
    /// Something mounted on a directory of the runtime's.
    Mount(PathBuf),
    /// A file or directory that was to be removed.
    Trash(PathBuf),
}

impl std::fmt::Display for Stray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ControlGroups(id) => write!(f, "control groups of {id}"),
            Self::Directory(id) => write!(f, "the directory of {id}"),
            Self::LoopDevice(number) => write!(f, "/dev/loop{number}"),
            Self::Mount(path) => write!(f, "a mount on {}", path.display()),
            Self::Trash(path) => write!(f, "{}", path.display()),
        }
    }
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
    /// Dead, with what is known about its end, the cause included; its traces are still there until it is killed.
    Dead(Exit),
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
    /// What every root file system is made of is gone.
    #[error("the base of root file systems is not on this host")]
    BaseMissing,
    /// The host's disk is full.
    #[error("the host's disk is full: {0}")]
    DiskFull(String),
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
