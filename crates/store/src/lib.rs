//! The embedded store: the only crate that knows SQL.
//!
//! ```text
//!            facts.sqlite (durable before the answer)   attempts, samples, logs.sqlite (relaxed)
//!            ┌───────────────┬──────────────┐           ┌───────────────┬──────────────┐
//! handles ──►│ 1 writer      │ n readers    │           │ 1 writer      │ n readers    │  × 3
//!            │ group commit  │ WAL snapshot │           └───────────────┴──────────────┘
//!            └──────┬────────┴──────────────┘
//!                   └─ after each commit: the feed of events, the count of webhook changes
//! ```
//!
//! The facts are teams, keys, templates, sandboxes, the log of events and webhooks with their cursors: a change of a
//! sandbox and its event are one transaction. Attempts, samples and logs live in files of their own, so that their bulk
//! neither slows a fact down nor is made durable at a fact's price.
//!
//! Inside, each file has a folder with the operations on it (`facts`, `samples`, `logs`, `attempts`). They stand on
//! `sqlite`, the mechanism, which knows none of them.
//!
//! Each kind of caller has a handle with the operations it needs: [`Facts`], [`EventLog`], [`Deliveries`] and [`Alerts`]
//! on `facts.sqlite`, [`Samples`], [`Logs`] and [`Attempts`] on theirs. [`Store`] has them all.
//!
//! Ownership: handles are cheap clones; the threads own the connections. Another process may open the same files
//! beside this one (WAL, busy timeout); the feed carries this process's commits only.
//!
//! Failures: see [`StoreError`]. A full or read-only disk refuses writes and goes on serving reads.

#![warn(clippy::disallowed_methods)]

mod attempts;
mod error;
mod facts;
mod failure;
mod feed;
mod logs;
mod node_facts;
mod page;
mod samples;
mod sqlite;
mod store;

#[cfg(test)]
mod plan_tests;

pub use attempts::{AttemptQuery, Attempts, StatsBucket};
pub use error::StoreError;
pub use facts::activity::TeamActivity;
pub use facts::admission::{Admission, IdempotencyKey};
pub use facts::alert_rules::RuleOutcome;
pub use facts::alerts::{AlertDecision, AlertKey, AlertStep, FiringAlert};
pub use facts::commit::{Change, NewSnapshot};
pub use facts::deliveries::{DeadLetter, DeliveryProgress, Owed, ReplayStep, Standing};
pub use facts::event_pages::{EventPage, EventQuery, MAX_EXAMINED};
pub use facts::events::Stretch;
pub use facts::handles::{Alerts, Deliveries, EventLog, Facts};
pub use facts::home::Home;
pub use facts::keys::{DeletedApiKey, Known, NewApiKey};
pub use facts::ledger::{
    EndedExecution, EndedExecutions, LedgerMoment, OpenExecution, SandboxAt, SandboxHistory, SandboxesAt,
};
pub use facts::replays::ReplayPage;
pub use facts::retention::Removed;
pub use facts::sandboxes::{ListedState, SandboxFilter};
pub use facts::seal::{SEALING_KEY_BYTES, Sealer};
pub use facts::snapshots::SnapshotFilter;
pub use facts::tail::{Batch, EventFeed, Heard, Tail};
pub use facts::teams::FirstTeam;
pub use facts::templates::DeleteTemplate;
pub use facts::webhooks::Replaced;
pub use failure::{Doing, Failure};
pub use logs::Logs;
pub use logs::bounds::LogBounds;
pub use logs::exports::NumberedEntry;
pub use logs::streams::{LogBatch, LogQuery};
pub use node_facts::{Admissions, NodeFacts};
pub use page::{Order, Page};
pub use samples::Samples;
pub use samples::sealed::{SampleRetention, Sealed};
pub use sandscope_sample_blocks::Aggregate;
pub use sqlite::fault::{self, FaultPlan};
pub use sqlite::threads::StoreThread;
pub use sqlite::writes::WriteCounts;
pub use store::{Store, StoreOptions};
