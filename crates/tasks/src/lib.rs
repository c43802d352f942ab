//! Work that must never end, by name: started here, seen here, drained from here.
//!
//! ```text
//!                     ┌──────────── supervisor, one for each task ────────────┐
//! start(task, make) ─►│ make() ─► life ─► ended or panicked, unasked          │──► statuses: /tasks, /metrics, /health
//!                     │  ▲                 │                                  │
//!                     │  └── backoff ◄─────┤ Restart: again, later and later  │
//!                     │                    └ Fatal, or too often ─► failed() ─┼──► the server drains and exits
//!                     └───────────────────────────────────────────────────────┘
//! drain: phase after phase: its stop token, its steps, then its tasks
//! ```
//!
//! Ownership: [`Tasks`] is a cheap handle to the registry. A supervisor owns the life of its task and polls it in
//! place, so a watched task costs no second task. Whoever starts a task under [`Policy::Restart`] passes a factory,
//! which makes the next life from what is durable or shared; where that is not possible the policy is
//! [`Policy::Fatal`].
//!
//! Failure cases: a panic is caught, logged once with the task's name, and counted. A life that returns although nobody
//! stopped it counts as a failure, too, and so does one that returns why it failed. The number of names is that of the
//! calls in the program, so what is reported of tasks is bounded. Members of a [`Crew`] (a driver per sandbox, a deliverer
//! per webhook) share one name; the code that starts them starts them anew.

#![warn(clippy::disallowed_methods)]

mod backoff;
mod caught;
mod crew;
mod drain;
mod entry;
mod phase;
mod registry;
mod status;
mod supervise;
mod task;
mod timer;

pub use backoff::Backoff;
pub use caught::{Panic, caught};
pub use crew::Crew;
pub use phase::Phase;
pub use registry::{Failure, Tasks};
pub use status::{TaskExit, TaskState, TaskStatus};
pub use supervise::{Outcome, Watched};
pub use task::{Policy, Task};
pub use timer::{Sleep, Timer};
