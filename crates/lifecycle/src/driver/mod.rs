//! The one task that owns a sandbox: nobody else calls the engine for it or changes its row.
//!
//! ```text
//!  requests (bounded) ──► inbox ──┐
//!  exit (from the engine) ───────┼─► whose turn? ─► commit the intent ─► engine  ─► commit state + event ─► answer
//!  the clock reaches end_at ──────┘                  (refused: nothing     │            │
//!                                                     has changed)         │            └ cannot be written: the caller
//!                                                                          │              gets it, writing is tried
//!                                                                          │              again until it succeeds
//!                                                                          └ fails: the intent is rolled back
//! ```
//!
//! Ownership: the driver owns the sandbox, its place in the team's limit and its queue; the registry holds the other
//! end of the queue and a view of the sandbox as last committed. A request belongs to the driver once it is queued:
//! a caller that goes away changes nothing.
//!
//! Failure cases. The store refuses an intent: the caller gets the error, nothing changed. The store refuses a result: see
//! `commit`. The engine fails: rolled back, or, where the sandbox turns out to be gone, its death is recorded. The
//! server stops: the current step is finished, the queue is refused, the sandbox lives on and the next start takes
//! it back. The server is killed: the recorded intent shows the next start what was under way. The driver panics: see
//! `revival`.

mod commit;
mod death;
mod held;
mod revival;
mod run;
mod serve;
mod time;
mod transitions;

use std::sync::Arc;

use sandscope_model::Sandbox;

pub(crate) use self::run::Begin;
use crate::context::Context;
use crate::slots::Slot;

/// Starts the driver of `sandbox` and registers it.
pub(crate) fn spawn(context: &Arc<Context>, sandbox: Sandbox, slot: Option<Slot>, begin: Begin) {
    let id = sandbox.id.clone();
    let life = run::take_over(context, sandbox, slot, begin, None);
    context.tasks.spawn(revival::survive(Arc::clone(context), id, life));
}
