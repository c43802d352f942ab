//! Counters to samples to the store.
//!
//! ```text
//!   every 250 ms: what runs? ──► new ones: first reading ──► 1 s later: second ──► then every tick
//!                                 (derives nothing)             │                     │
//!                                                               ▼                     ▼
//!   Readings::read ────────────────────────────────────► derive(previous, this, subject)   pure
//!                                                               │
//!                                                               ▼
//!                                        all samples of a round: one Samples::insert_samples
//!
//!   every second, in between: the same into memory ──► Live (see `live`)
//! ```
//!
//! A sandbox has its first sample within 2 s of its creation, then one per interval, at whole multiples of the interval
//! since 1970. Ticks that were missed are not made up for.
//!
//! Ownership: one task owns the readings; `tasks` watches and stops it. Nothing is kept across a restart of the task or
//! the server: every sandbox starts over with a first reading.
//!
//! Failure cases: a sandbox that cannot be read is tried again as if it were new; if the store cannot be written, the
//! samples of those rounds are lost and said to be, once. A paused sandbox is not read, and starts over when it is
//! resumed, so no sample averages over the pause.

#![warn(clippy::disallowed_methods)]

mod derive;
mod fleet;
mod live;
mod rounds;
mod sampler;
mod stats;

pub use derive::{Subject, derive};
pub use fleet::{FLEET_STATES, FleetGroup, FleetLabels, MAX_GROUPS, busiest, fleet};
pub use live::{KEPT, Listener, Live, LivePoint, LiveRound};
pub use sampler::{SamplerOptions, Suspect, start};
pub use stats::{SamplerCounts, SamplerStats};
