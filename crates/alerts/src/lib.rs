//! Alerts: rules, the operator's and each team's own, over what is known of a team.
//!
//! ```text
//!   Live ── every second ──┬► seconds: a watch per rule and sandbox      (samples)
//!                          ├► log: windows over the events, by a cursor  (crashes, out of memory)
//!                          └► meters: every ten seconds                  (usage, webhooks)
//!                                   │ fires, resolves
//!                                   ▼
//!            Alerts::publish_alerts: row, event and cursor in one transaction
//! ```
//!
//! Ownership: one task owns everything here, watched and stopped by `tasks`. What fires is a row of the store, and how
//! far the log has been looked at is one, too: a server killed at any moment goes on where it was, and each alert is
//! published once. Windows and sums are derived from the log again, and what was pending from the samples that were
//! stored.
//!
//! Rules are read again as soon as one is made, changed or deleted. What a changed rule had fired is resolved by
//! the one who changes it, in the same transaction; what was decided by an older revision does not count.
//!
//! Failure: what cannot be stored is decided anew in the next second. An alert of a sandbox that has ended resolves.
//! Seconds the task missed are a gap, which proves nothing; events are never missed, for they are in the log.

#![warn(clippy::disallowed_methods)]

mod alerts;
mod log;
mod meters;
mod options;
mod publisher;
mod rulebook;
mod seconds;
mod stats;
mod usage;
mod windows;

pub use alerts::start;
pub use options::AlertOptions;
pub use stats::{AlertCounts, AlertStats};
