//! Sandboxes on Linux: namespaces, control groups, an overlay over a disk image, and a static agent as PID 1.
//!
//! ```text
//!   LinuxRuntime ──── LauncherClient ═════► launcher ──► shim ──► agent (PID 1)      processes: see `launcher`
//!     │    │                                              │
//!     │    └── Sandbox: pidfds, network, disk, CgroupSet  └─► exit.json
//!     ▼
//!   <state>/lock                      one server at a time
//!   <state>/base/{tree-…,disk-N.ext4} what every sandbox starts from, made once
//!   <state>/sandboxes/<id>/           sandbox.json, disk.ext4, exit.json
//!   <state>/snapshots/<build>.ext4    captured layers
//!   <state>/warm/<name>/              sandboxes made ahead, nobody's yet: see `warm`
//!   <state>/trash/                    being removed
//! ```
//!
//! Ownership: the kernel and the state directory hold the truth; this process holds handles. Each sandbox has one task
//! that waits for its end. Long work (mounts, copies, freezing) runs on blocking threads or in other processes.
//!
//! Failure: `create` leaves nothing behind when it fails, even when its caller gives up. `sandbox.json` is durable
//! before a sandbox counts as made; whatever is found without one is removed at the next start. What cannot be
//! removed at once is removed in the background and waited for by [`LinuxRuntime::shutdown`].

mod agent;
mod base;
mod channel;
mod client;
mod create;
mod details;
mod disk;
mod health;
mod host_check;
mod inspect;
mod launcher;
mod layout;
mod options;
mod processes;
mod protocol;
mod record;
mod recover;
mod remove;
mod runtime;
mod sandbox;
mod snapshot;
mod survey;
mod sys;
mod warm;

pub use host_check::{HostCheck, HostProblem, check_host, host_checks};
pub use inspect::{Inspection, Seen, inspect};
pub use launcher::{LAUNCHER_ARGUMENT, launcher_main};
pub use options::{LinuxOptions, WarmOptions};
pub use runtime::LinuxRuntime;
