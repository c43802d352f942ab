use std::time::Duration;

use sandscope_model::{Component, KillReason, OnTimeout, Origin, Sandbox, Stamp, Timestamp, Uptime};

use super::held::Driver;
use crate::RequestError;

/// How long after a failed attempt to end a sandbox's time the next one is made.
const RETRY: Duration = Duration::from_millis(500);
/// Failed auto-pauses after which the sandbox is killed: its time is up, and it may not hold its place for ever.
const PAUSES_BEFORE_KILLING: u32 = 5;

impl Driver {
    /// Lets the time of `sandbox` end at `due`, which the wall clock calls `end_at`.
    pub(super) fn end_at(sandbox: &mut Sandbox, (due, end_at): (Uptime, Timestamp), now: Stamp) {
        sandbox.end_at = end_at;
        if let Some(execution) = sandbox.state.execution_mut() {
            execution.end_at(due, now);
        }
    }

    /// The end of a time of `timeout` that begins now, in both times.
    pub(super) fn end_of(now: Stamp, timeout: Duration) -> (Uptime, Timestamp) {
        let due = now.uptime.after(timeout);
        (due, now.at.checked_add(timeout).unwrap_or(Timestamp::MAX))
    }

    /// Its time is up: kills or pauses it, as its owner wished. What cannot be done now is tried again.
    pub(super) async fn time_up(&mut self) {
        let n_failed = self.timeout_retry.map_or(0, |(_, n_failed)| n_failed);
        let wish = self.sandbox.spec.on_timeout;
        self.origin = Origin::system(Component::Timeout);
        let ended = match wish {
            OnTimeout::Pause if n_failed < PAUSES_BEFORE_KILLING => self.pause().await,
            OnTimeout::Pause | OnTimeout::Kill => self.kill(KillReason::Timeout).await,
        };
        let Err(error) = ended else { return };
        if self.over {
            return;
        }
        tracing::error!(sandbox_id = %self.sandbox.id, %error, "its time is up but it cannot be ended; trying again");
        // A store that cannot write says nothing about whether the sandbox can be paused.
        let counts = matches!(error, RequestError::Engine(_));
        self.timeout_retry = Some((self.context.clock.uptime().after(RETRY), n_failed + u32::from(counts)));
    }
}
