//! What sandboxes' processes wrote, from the agents to the store; and what became of the sandboxes, in the same log.
//!
//! ```text
//!   every 250 ms: what runs? ──► a follower for each ──► GET /logs?after=n&wait=30 ──► agent of the sandbox
//!                                      │                        (waits for a line)
//!                                      ▼
//!                      validate, clean, count what is lost ──► NodeFacts::append_logs(…, upto n) ──► pause ──► again
//!
//!   Store's feed of events ──► one line each: created, paused, killed and why
//! ```
//!
//! Followers are a node's: they read agents of its own sandboxes, and hold [`NodeFacts`](sandscope_store::NodeFacts).
//! The lines about what became of sandboxes are the control's: they come from the log of all of them, which a node does
//! not follow, so that part alone holds the store's tail.
//!
//! Ownership: one task finds followers their sandboxes, each follower owns its connection, one task writes what the
//! feed reports; `tasks` watches and stops them. Where a follower stands is kept in the store together with the lines, so a
//! server that was killed goes on where it was and stores no line twice.
//!
//! A sandbox is hostile: its answers are bounded and checked, its words are freed of what would steer a terminal, its
//! clock is believed only as far as the store allows. One that floods costs a bounded share: its agent keeps a bounded
//! amount, a follower fetches at most [`LINES_PER_SECOND`] and [`BYTES_PER_SECOND`], all of them together at most
//! [`TOTAL_LINES_PER_SECOND`]; what does not fit is said to be lost, by number.
//!
//! Failure cases: an agent that does not answer sensibly is asked again after a while, less and less often. A paused
//! sandbox keeps its connection until the answer is overdue, and gets a new follower when it is resumed. If the store
//! cannot be written the lines stay with the agent as long as there is room. What was written within the last moments
//! before a kill may be missing: nobody waits for it. Lifecycle lines are written in the order of
//! the event log; one that the store refuses is tried again until it is written, and those behind it wait in the log. What
//! cannot be written by the time the server ends is missing here; the record is the event log.

#![warn(clippy::disallowed_methods)]

mod collector;
mod entry;
mod follower;
mod pace;
mod sentence;
mod story;
mod text;

pub use collector::{LogsOptions, start};
pub use pace::{BYTES_PER_SECOND, LINES_PER_SECOND, TOTAL_LINES_PER_SECOND};
