//! Delivery of events to webhooks: each webhook is a cursor over its team's event log.
//!
//! ```text
//!   store: feed of new events, log, registrations, cursors, exceptions, attempts
//!      │ feed, nudges, periodic scan                         ▲            ▲
//!      ▼                                                     │ progress   │ attempts, in batches
//!  Supervisor ──inbox──▶ Deliverer (one task per webhook) ───┘            │
//!                          │  Backlog: what is due, pure                  │
//!                          └─▶ attempts (≤ window) ─▶ HttpClient, guarded ─▶ receiver
//!                                                   └─▶ Recorder ────────┘
//! ```
//!
//! **The log is the queue.** Nothing is written when an event occurs; a webhook's cursor says up to where everything is
//! delivered or set aside, and its exceptions say what was set aside, how often it was tried and when it is due.
//! Cursor and exceptions are stored in one transaction, always after the attempts they are about. Kill the process
//! anywhere and the next start continues from the rows: a receiver may see an event twice, with the same event id, and
//! never zero times while the webhook is enabled and attempts remain.
//!
//! **Nobody waits for another.** Every webhook has its own task, window, connections and resolver; see [`Webhooks`] and
//! `sandscope_outbound` for the few things shared and how they are handed out.
//!
//! Failure cases: a feed that was too fast, or a nudge that got lost, is made up for from the log; a store that refuses
//! makes deliveries pause after a bounded number; a receiver that is slow, broken or hostile ends as an attempt with an
//! error class within the attempt's deadline.

#![warn(clippy::disallowed_methods)]

mod attempt;
mod backlog;
mod connections;
mod defaults;
mod deliverer;
mod delivery;
mod gate;
mod health;
mod inbox;
mod policy;
mod receiver_client;
mod recorder;
mod replaying;
mod shift;
mod stats;
mod supervisor;
mod tester;

pub use defaults::Defaults;
pub use policy::RetryPolicy;
pub use sandscope_wire::signature;
pub use stats::DeliveryStats;
pub use supervisor::{Webhooks, WebhooksOptions};
pub use tester::Tester;

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod deliveries;
#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile;
#[cfg(test)]
#[path = "operations_tests.rs"]
mod operations;
#[cfg(test)]
#[path = "receiver_tests.rs"]
mod receiver;
#[cfg(test)]
#[path = "steps_tests.rs"]
mod steps;
#[cfg(test)]
#[path = "world_tests.rs"]
mod world;
