//! Keeps house for the whole store: sums up teams' activity, every minute; seals the hours that are over, every ten
//! minutes; removes what is past its retention, every hour; all of it at the start.
//!
//! Ownership: one task, watched and stopped by `tasks`; what it has done is in the store, so it may begin anew at any
//! time. Failure: what cannot be done now is done by a later round.

#![warn(clippy::disallowed_methods)]

mod rounds;

pub use rounds::{HousekeepingOptions, start};
