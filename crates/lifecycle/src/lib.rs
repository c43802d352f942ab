//! The lives of sandboxes: one driver task each, which admits requests, calls the runtime, and commits every change
//! together with the event it owes; timeouts; recovery after a restart.
//!
//! ```text
//!   api, edge ──► Lifecycle ──► registry ──► driver of each live sandbox ──► Runtime
//!                     │                          │        ▲
//!                     │ create: admission        │        └── exits nobody asked for
//!                     ▼                          ▼
//!                   Store ◄──── intent, then state + event in one transaction
//! ```
//!
//! Ownership: a sandbox belongs to its driver alone; [`Lifecycle`] only hands requests over. Concurrency limits are
//! held by a place in the team's limit that a driver owns while its sandbox runs. Failure cases are described where
//! they are handled: `driver` (store, runtime, shutdown) and `recovery` (after a crash).

mod admission;
mod cleanup;
mod context;
mod create;
mod dial;
mod driver;
mod error;
mod lifecycle;
mod look;
mod recovery;
mod request;
mod slots;
mod start;

pub use error::{CreateError, DialError, RequestError, StartError};
pub use lifecycle::Lifecycle;
pub use look::Look;
pub use request::{Connected, CreateRequest, Created, Dialed, Snapshot, SnapshotName};
pub use start::LifecycleOptions;
