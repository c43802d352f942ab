use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use sandscope_cgroup::DeviceRates;

use super::protocol::LAUNCHER_ARGUMENT;

/// How the engine of namespaces works on this host.
#[derive(Debug, Clone)]
pub struct LinuxOptions {
    /// Where images, snapshots and records are kept. Sandboxes are found again through it.
    pub state_dir: PathBuf,
    /// The executable that acts as the launcher: one whose `main` calls
    /// [`launcher_main`](super::launcher_main) first. Usually the server's own.
    pub launcher: PathBuf,
    /// Its arguments, the first of which is [`LAUNCHER_ARGUMENT`].
    pub launcher_args: Vec<OsString>,
    /// The control group that holds all sandboxes' groups, in each hierarchy. Relative: below this process's own.
    pub cgroup_parent: PathBuf,
    /// Whose they are: letters and digits that no other state directory of this host has. What bears another owner's
    /// name is never touched.
    pub owner: String,
    /// Whether the state directory came from elsewhere: what it says of sandboxes is about those of its former owner,
    /// which are left alone. Its records are removed.
    pub is_adopted: bool,
    /// Processes and threads a sandbox may have.
    pub max_pids: u32,
    /// Memory of the kernel that it charges to nobody, which a sandbox may hold, in bytes.
    pub kernel_memory_bytes: u64,
    /// Host name inside sandboxes.
    pub hostname: String,
    /// How long an agent may take to answer for the first time.
    pub agent_limit: Duration,
    /// Bytes of the host's disk to keep free, of a small disk less: see `room`.
    pub disk_reserve_bytes: u64,
    /// How fast each sandbox may use its own disk.
    pub disk_rates: DeviceRates,
    /// What to keep ready before anybody asks; `None` for nothing.
    pub warm: Option<WarmOptions>,
}

/// Sandboxes kept ready: what a create that fits them costs is then little more than writing it down.
#[derive(Debug, Clone, Copy)]
pub struct WarmOptions {
    /// How many. Each takes about what an idle sandbox takes.
    pub n: usize,
    /// Their memory, in MiB: creates that want another amount go the long way.
    pub memory_mb: u32,
    /// Their disk's size, in MiB; the same holds.
    pub disk_mb: u32,
}

impl LinuxOptions {
    /// Options for a server that is its own launcher, over a state directory that is `owner`'s.
    pub fn new(state_dir: PathBuf, launcher: PathBuf, owner: String) -> Self {
        Self {
            state_dir,
            launcher,
            launcher_args: vec![LAUNCHER_ARGUMENT.into()],
            cgroup_parent: PathBuf::from("sandscope"),
            owner,
            is_adopted: false,
            max_pids: 1024,
            kernel_memory_bytes: 64 << 20,
            hostname: "sandbox".to_owned(),
            agent_limit: Duration::from_secs(10),
            disk_reserve_bytes: 0,
            disk_rates: DeviceRates::default(),
            warm: None,
        }
    }
}
