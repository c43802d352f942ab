use std::sync::Arc;

use sandscope_model::{Cause, Exit, Origin, Sandbox, State, StateName, Uptime};
use tokio::sync::{mpsc, watch};

use crate::admission::Inbox;
use crate::context::Context;
use crate::request::{Envelope, Refusal};
use crate::slots::Slot;

/// A driver: what it holds of its sandbox.
pub(super) struct Driver {
    pub(super) context: Arc<Context>,
    /// As last committed.
    pub(super) sandbox: Arc<Sandbox>,
    /// When its time is up, whatever the wall clock is set to.
    pub(super) ends_at: Uptime,
    pub(super) view: watch::Sender<Arc<Sandbox>>,
    pub(super) requests: mpsc::Receiver<Envelope>,
    pub(super) inbox: Inbox<Envelope>,
    /// Who caused what is being done.
    pub(super) origin: Origin,
    pub(super) exit: watch::Receiver<Option<Exit>>,
    pub(super) oom: watch::Receiver<u64>,
    pub(super) oom_published: OomPublished,
    pub(super) ailment: watch::Receiver<Option<Cause>>,
    /// Its place in the team's limit, while it has one.
    pub(super) slot: Option<Slot>,
    /// Whom to answer first if the current change cannot be recorded.
    pub(super) waiting: Option<Refusal>,
    /// When the next attempt to end its time is made, if the last one failed, and how many have failed.
    pub(super) timeout_retry: Option<(Uptime, u32)>,
    /// Nothing more to do: the sandbox is gone or the server is.
    pub(super) over: bool,
}

/// Kills for lack of memory, as far as they were reported.
#[derive(Debug, Default)]
pub(super) struct OomPublished {
    /// How many were reported; unknown until the log was asked.
    pub(super) n_kills: Option<u64>,
    /// Not before this is anything reported again.
    pub(super) not_before: Option<Uptime>,
}

impl OomPublished {
    /// Of a sandbox that is about to be made.
    pub(super) const fn nothing() -> Self {
        Self { n_kills: Some(0), not_before: None }
    }
}

impl Driver {
    /// When its time is up, if it is in a state in which time passes.
    pub(super) fn due(&self) -> Option<Uptime> {
        if self.sandbox.state.name() != StateName::Running {
            return None;
        }
        Some(self.timeout_retry.map_or(self.ends_at, |(at, _)| at.max(self.ends_at)))
    }

    /// Makes the committed state visible.
    pub(super) fn adopt(&mut self, sandbox: Sandbox) {
        let before = self.sandbox.state.name();
        let after = sandbox.state.name();
        if before != after {
            tracing::debug!(sandbox_id = %sandbox.id, team_id = %sandbox.team_id, from = %before, to = %after, "transition");
        }
        let span = |sandbox: &Sandbox| sandbox.state.execution().and_then(|execution| execution.span);
        if sandbox.end_at != self.sandbox.end_at || span(&sandbox) != span(&self.sandbox) {
            self.timeout_retry = None;
            self.ends_at = sandbox.due(self.context.clock.stamp());
        }
        self.sandbox = Arc::new(sandbox);
        if matches!(self.sandbox.state, State::Paused { .. } | State::Killed { .. }) {
            self.slot = None;
        }
        if after == StateName::Killed {
            // Before anybody is answered, so that the next request finds nothing.
            self.context.registry.remove(&self.sandbox.id);
            self.over = true;
        }
        self.view.send_replace(Arc::clone(&self.sandbox));
    }
}
