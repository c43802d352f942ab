//! Processes that clients start.
//!
//! A process belongs to the table, not to the request that started it: when clients disconnect, it runs on until it
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
//! Nobody waits for a process on its way to becoming a program but the call that started it: others may stop or kill it
//! there. One that is stopped for [`launch::START_LIMIT_S`] is ended.
//!
//! Failure cases: a process waits for its readers, as it would for a pipe, but a reader that takes nothing is cut off
//! after [`fanout::PATIENCE`], and one that keeps others waiting after [`fanout::STALL_LIMIT`]; a descendant that keeps the pipes open after the process ended delays the announcement by
//! [`driver::DRAIN_LIMIT`] at most and is read from until it closes them. Signals and the time limit reach the whole
//! process group: what a command has started ends with it, unless it made a session or group of its own, as daemons
//! and the jobs of an interactive shell do; those belong to nobody and live on.

mod calls;
mod driver;
mod fanout;
mod input;
mod launch;
mod program;
mod stdio;
mod stream;
mod table;

pub(crate) use calls::answer;
pub(crate) use table::ProcessTable;
