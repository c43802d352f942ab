//! Memory of the kernel that it charges to nobody: how much there is, who holds it, and who holds too much.
//!
//! ```text
//!   every look            Host::read ──► Watch::suspects     three small files of /proc
//!   when that grew        holdings   ──► Watch::judge        what each sandbox holds: locks, sockets, open files
//!                                           └─► sandboxes to end, each with its cause
//! ```
//!
//! [`Bounds`] are of another kind of memory: charged to its sandbox, and kept when whoever took it has ended.
//!
//! Ownership: [`Watch`] is pure and remembers what it was shown; everything else only reads, but for
//! [`Bounds::set_ipc`]. Ending is its caller's.
//!
//! Failure: a host whose files cannot be read is not judged. A watch begun anew remembers nothing: what the kernel uses at
//! that moment counts as the host's own. `docs/security/kernel-pools.md` says what is counted, and from where.

#![warn(clippy::disallowed_methods)]

mod bounds;
mod files;
mod host;
mod judge;
mod locks;
mod seen;
mod sockets;

pub use bounds::Bounds;
pub use files::{open_files, read_in};
pub use host::Host;
pub use judge::{Judgement, Seen, Watch};
pub use seen::{Holder, holdings};
