//! Control groups as typed files, version 2, version 1 and hybrid behind one type.
//!
//! A host has one hierarchy per controller (version 1), one for everything (version 2), or both at once (hybrid:
//! controllers in version 1 beside a version 2 hierarchy without any). [`Cgroups`] finds out per controller, once;
//! a [`CgroupSet`] is one sandbox's directory in every hierarchy that has a part in it:
//!
//! ```text
//!   Cgroups::open ── /proc/self/cgroup + mountinfo ──► a parent group per hierarchy
//!        │                                                <own group>/sandscope
//!        │ create(name), open_set(name)                          │
//!        ▼                                                       ▼
//!   CgroupSet ─┬─ v1 cpu      <parent>/<name>   quota           on version 2 these
//!              ├─ v1 memory   <parent>/<name>   limit, OOM      are one directory
//!              ├─ v1 pids     <parent>/<name>   limit
//!              ├─ v1 devices  <parent>/<name>   allow-list
//!              └─ v2          <parent>/<name>   freeze, kill, CPU time
//! ```
//!
//! **A sandbox's life.** [`Cgroups::create`], [`CgroupSet::set_limits`], then the child, single-threaded still, writes
//! `0` to each of [`CgroupSet::join_files`] *itself*: being moved from outside costs a wait for every CPU in each
//! version 1 hierarchy. Where version 2 is mounted the child can be cloned into [`CgroupSet::unified_dir`] instead
//! and join only [`CgroupSet::v1_join_files`]. Then [`CgroupSet::readings`], [`CgroupSet::freeze`],
//! [`CgroupSet::thaw`]; and at the end [`CgroupSet::kill_all`], [`CgroupSet::remove`].
//!
//! **Ownership.** Everything is synchronous and takes `&self`; the kernel is the only state. A set holds about fifteen file
//! descriptors (its directories, the five files of its counters and, once they were read, five more), so a counter is read without walking a path and
//! cannot be another sandbox's. Dropping a set changes nothing on the host.
//!
//! **Failure.** Every error names the file. `create` leaves nothing behind when it fails; `freeze` that does not come to
//! an end thaws again; `remove` retries until its limit, because killed processes leave a moment later.
//! A set of which a crash left only some directories can be opened, killed and removed.
//!
//! **Version 2 specifics.** A group with processes cannot hand controllers to children, so the server moves itself to
//! a group named [`SERVER_LEAF`] where needed. Inside a systemd unit the parent is made at the hierarchy's root, as the
//! unit's own group must stay startable; with `DelegateSubgroup=sandscope-server` it is made inside the unit. Device
//! access is not limited by control group there: sandboxes cannot make device nodes and see only harmless ones.

mod cgroups;
mod controller;
mod counters;
mod details;
mod directories;
mod error;
mod group;
mod half;
mod hierarchy;
mod kernel;
mod layout;
mod limits;
mod oom;
mod parse;
mod power;
mod rates;
mod set;
mod spare;
mod stalled;
mod waits;
mod yielding;

pub use cgroups::{CgroupOptions, Cgroups};
pub use controller::Controller;
pub use counters::{CpuUse, Readings, Totals};
pub use details::Details;
pub use error::CgroupError;
pub use hierarchy::{Hierarchy, Version};
pub use kernel::KernelUse;
pub use layout::SERVER_LEAF;
pub use limits::Limits;
pub use oom::OomWatch;
pub use rates::DeviceRates;
pub use set::{CgroupSet, FREEZE_LIMIT, JoinFile};
pub use spare::has_spare_descriptors;
pub use stalled::Stalled;
pub use waits::Waits;
pub use yielding::{CpuLoad, CpuMeter};
