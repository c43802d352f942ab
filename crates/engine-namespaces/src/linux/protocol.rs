//! What the server asks of its launcher, and what comes back.

use std::fmt;
use std::io;
use std::path::PathBuf;

use sandscope_host_base::BaseTree;
use sandscope_model::Secret;
use serde::{Deserialize, Serialize};

/// The first argument that makes an executable act as the launcher.
pub const LAUNCHER_ARGUMENT: &str = "internal-launcher";

/// A request, with a number that its reply repeats.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) operation: Operation,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// Make a sandbox. The reply carries the descriptors that [`Made`] lists.
    Make(Box<MakeRequest>),
    /// Make a TCP socket inside the network namespace that comes with the request. The reply carries it.
    Socket(Loopback),
}

/// Which of a sandbox's loopback addresses a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Loopback {
    V4,
    V6,
}

/// Everything a shim needs to make a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MakeRequest {
    /// The name of its control groups: no two sandboxes of the host have the same.
    pub(crate) id: String,
    /// Host name inside.
    pub(crate) hostname: String,
    /// Its directory on the host; exists and is empty.
    pub(crate) dir: PathBuf,
    /// Where the disk has a name while it is attached, on the same file system.
    pub(crate) disks_dir: PathBuf,
    /// The disk image to start from.
    pub(crate) image: PathBuf,
    /// The base of its root file system.
    pub(crate) base: BaseTree,
    /// Whether the first descriptor that comes along is a version 2 control group to start it in. All others are
    /// files of version 1 groups through which a process joins them.
    pub(crate) has_unified_cgroup: bool,
    /// The name of its control groups, to check that it is in them.
    pub(crate) cgroup_name: String,
    /// How much memory it may use, in MiB.
    pub(crate) memory_mb: u32,
    /// What the agent reads at start.
    pub(crate) boot_token: Secret,
}

/// A reply to the request of the same number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) number: u64,
    pub(crate) result: Result<Done, Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Done {
    Made(Made),
    Socket,
}

/// A sandbox whose agent has been started. Descriptors that come along, in this order: pidfd of its first process,
/// pidfd of its shim, its network namespace, the mount of its disk, the files for its `/proc`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) init: ProcessName,
    pub(crate) shim: ProcessName,
    pub(crate) uid_base: u32,
    pub(crate) loop_device: u32,
}

/// A process, distinguished from later ones with the same number by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessName {
    pub(crate) pid: i32,
    /// In clock ticks since the host booted (field 22 of `/proc/<pid>/stat`).
    pub(crate) started: u64,
}

/// The step that takes room on the host's disk.
pub(crate) const COPY_DISK: &str = "copy the disk";

/// A step that failed in another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) why: String,
    /// The kernel's error number, where there is one.
    pub(crate) errno: Option<i32>,
}

impl Failure {
    pub(crate) fn new(step: &str, why: impl fmt::Display) -> Self {
        Self { step: step.to_owned(), why: why.to_string(), errno: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.why)
    }
}

/// Says which step an error happened in.
pub(crate) trait InStep<T> {
    fn step(self, step: &str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> InStep<T> for Result<T, E> {
    fn step(self, step: &str) -> Result<T, Failure> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            Failure { step: step.to_owned(), why: error.to_string(), errno: error.raw_os_error() }
        })
    }
}
