//! The lives of sandboxes, as whoever asks for them sees them: one door, wherever they run.
//!
//! ```text
//!   api ──► Lives   create, kill, pause, resume, connect, timeouts, snapshots, a close look
//!   edge ─► Lives   a live sandbox, a byte stream to one of its ports
//!             ▲
//!             │ implemented by
//!         lifecycle, for this machine
//! ```
//!
//! Ownership: behind the door each sandbox belongs to one driver; this crate holds the words of the door and no state.
//! Nothing here names an engine or a database: an answer has to make sense also where it came from another machine.
//! Failure cases are those of the errors: what could not be done on the host ([`HostError`]) and what could not be
//! recorded ([`RecordError`]) each say what it means for the caller, and keep their cause for the log.

#![warn(clippy::disallowed_methods)]

mod create;
mod dial;
mod error;
mod failure;
mod lives;
mod request;

pub use create::{CreateCounts, CreateRequest, Created, IdempotencyKey};
pub use dial::{DialError, Dialed, Duplex, Waking};
pub use error::{CreateError, DeleteTemplateError, RequestError};
pub use failure::{HostError, HostFault, RecordError, RecordFault};
pub use lives::Lives;
pub use request::{Connected, Look, Snapshot, SnapshotName};
