//! Sandboxes on Linux: namespaces, control groups, an overlay over a disk image, and a static agent as PID 1.
//!
//! ```text
//!   NamespacesEngine ──── LauncherClient ═════► launcher ──► shim ──► agent (PID 1)      processes: see `launcher`
//!     │    │                                              │
//!     │    └── Sandbox: pidfds, network, disk, CgroupSet  └─► exit.json
//!     ▼
//!   <state>/lock                      one server at a time
//!   <state>/base/{tree-…,disk-N.ext4} what every sandbox starts from, made once
//!   <state>/sandboxes/<id>/           sandbox.json, disk.ext4, exit.json
//!   <state>/snapshots/<build>.ext4    captured layers
//!   <state>/warm/<name>/              sandboxes made ahead, nobody's yet: see `warm`
//!   <state>/disks/                    names of images while they are attached: see `disk::attach`
//!   <state>/trash/                    being removed
//!   <state>/ballast                   room on the host's disk to give back: see `room`
//! ```
//!
//! ```text
//!   operations, readings, door                               the three traits
//!     └─► create, kill, recover, survey, health              one operation each, over
//!                 └─► shared ──► sandboxes, shelf, preparer, remover, busy    parts that own their state and know
//!                                  └─► sandbox ──► handles, oom, baseline     nothing of those above
//!   pools                                                  the watch over the kernel's memory, a task of its own
//!   yields                                                 who lets the others have the CPUs first, a task of its own
//! ```
//!
//! Ownership: the kernel and the state directory hold the truth; this process holds handles. Each sandbox has one task
//! that waits for its end. Long work (mounts, copies, freezing) runs on blocking threads or in other processes.
//!
//! Failure: `create` leaves nothing behind when it fails, even when its caller drops it. `sandbox.json` is durable
//! before a sandbox counts as made; whatever is found without one is removed at the next start. What cannot be
//! removed at once is removed in the background and waited for by [`NamespacesEngine::shutdown`].

mod affinity;
mod baseline;
mod busy;
mod channel;
mod client;
mod create;
mod details;
mod dial;
mod disk;
mod disk_rates;
mod door;
mod end;
mod engine;
mod former;
mod freezing;
mod handles;
mod health;
mod host_check;
mod inspect;
mod kill;
mod launcher;
mod layout;
mod more_counters;
mod oom;
mod operations;
mod options;
mod pools;
mod prepare;
mod processes;
mod profile;
mod protocol;
mod readings;
mod record;
mod recover;
mod removal;
mod room;
mod sandbox;
mod sandboxes;
mod shared;
mod snapshot;
mod step;
mod strays;
mod survey;
mod sys;
mod trace;
mod traffic;
mod turns;
mod warm;
mod yields;

pub use engine::NamespacesEngine;
pub use host_check::{HostCheck, HostProblem, check_host, host_checks};
pub use inspect::{Inspection, Seen, inspect};
pub use launcher::launcher_main;
pub use options::{LinuxOptions, WarmOptions};
pub use pools::KernelMemory;
pub use protocol::LAUNCHER_ARGUMENT;
pub use room::disk_reserve;
pub use sandscope_host_base::private_programs;
