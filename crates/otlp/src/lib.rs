//! Pushes what is known of sandboxes to an OpenTelemetry collector: metrics, logs, and events of the log as OTel events.
//!
//! ```text
//!  Store: log of events ──cursor──► EventPump ──┐
//!         logs          ──cursor──► LogPump   ──┼─► Courier: again, smaller, or set aside ─► Collector: one request
//!                                               │                                               │ OTLP over HTTP,
//!  Live, sandboxes ──every interval──► MetricPump: a bounded queue ─────────────────────────────┘ protobuf, gzip
//! ```
//!
//! **Events are never lost.** Nothing is queued: a durable cursor says up to where the collector has taken a team's
//! events, and moves only after it has. Kill the process anywhere and the next start goes on from the row; the collector
//! may see the events of one request twice, with the same ids. Logs work the same way, but what retention removes before
//! it could be sent is gone, and counted. Metrics wait in memory, a bounded number of them, and the oldest go first.
//!
//! Ownership: one task for each kind, watched by `tasks`, one request of it at a time, none of which anybody waits for.
//!
//! Failure cases: a collector that is away, busy or set up wrongly is asked again, ever less often, and said so once. One
//! that finds a request too large or malformed gets it in halves; a single record it will not have, while it takes an
//! empty request, is set aside and counted, so that it does not hold up all that follow. A partial success is final, as
//! the protocol demands, and counted.

#![warn(clippy::disallowed_methods)]

mod collector;
mod courier;
mod events;
mod export;
mod figures;
mod logs;
mod metrics;
mod record;
mod render;
mod sandboxes;
mod stats;

#[cfg(test)]
#[path = "pushing_tests.rs"]
mod pushing;
#[cfg(test)]
#[path = "receiver_tests.rs"]
mod receiver;

pub use collector::{Collector, CollectorError, Target};
pub use export::{OtlpOptions, start};
pub use sandboxes::Sandboxes;
pub use stats::{OtlpCounts, OtlpStats};
