//! Processes that clients start.
//!
//! A process belongs to the table, not to the request that started it: whoever disconnects, it runs on until it
//! ends, is killed, or passes its time limit.
//!
//! ```text
//! Start ─► launch ─► table ◄─ List, SendInput, SendSignal, Update, …
//!             │
//!             ▼ one driver task per process
//!   pipes or terminal ─► pump ─► fan-out ─┬─► bounded queue ─► stream of the client that started it
//!   exit status (reaper) ─► end ──────────┴─► bounded queue ─► stream of each client that connected later
//! ```
//!
//! Failure cases: a reader that takes nothing is cut off after [`fanout::STALL_LIMIT`], so it delays the process
//! once and briefly; a descendant that keeps the pipes open after the process ended delays the announcement by
//! [`driver::DRAIN_LIMIT`] at most and is read from until it closes them; at the time limit the whole process group is killed.

mod calls;
mod driver;
mod fanout;
mod input;
mod launch;
mod stream;
mod table;

pub(crate) use calls::answer;
pub(crate) use table::ProcessTable;
