//! The lives of sandboxes: one driver task each, which admits requests, calls the engine, and commits every change
//! together with the event it owes; timeouts; recovery after a restart.
//!
//! ```text
//!   api, edge ──► Lives
//!                   ▲ implemented by
//!               Lifecycle ──► registry ──► driver of each live sandbox ──► Engine
//!                     │                          │        ▲
//!                     │ create                   │        └── exits nobody asked for
//!                     ▼                          ▼
//!               Admissions   NodeFacts ◄── intent, then state + event in one transaction
//! ```
//!
//! What is a node's own goes through [`NodeFacts`](sandscope_store::NodeFacts): rows, commits, templates, layers.
//! Whether one more sandbox may be made is the control's to decide, and goes through
//! [`Admissions`](sandscope_store::Admissions): a team's places and keys are the same on every node.
//!
//! Ownership: a sandbox belongs to its driver alone; [`Lifecycle`] only hands requests over. Concurrency limits are
//! held by a place in the team's limit that a driver owns while its sandbox runs. Failure cases are described where
//! they are handled: `driver` (store, engine, shutdown), `recovery` (after a crash), `health` (agents that do not
//! answer) and `reconcile` (a host that does not agree).

#![warn(clippy::disallowed_methods)]

mod admission;
mod cleanup;
mod context;
mod counts;
mod create;
mod dial;
mod door;
mod driver;
mod error;
mod failure;
mod health;
mod lifecycle;
mod look;
mod reconcile;
mod recovery;
mod request;
mod slots;
mod start;
mod undriven;
mod upkeep;

pub use error::{CreateError, RequestError, StartError};
pub use health::HealthPolicy;
pub use lifecycle::Lifecycle;
pub use reconcile::Reconciled;
pub use start::LifecycleOptions;
pub use upkeep::Upkeep;
