//! What a sandbox's end, and the kernel's kills before it, say.

use std::time::Duration;

use sandscope_model::{
    Cause, Component, EventType, Fact, OomKills, Origin, SampleSummary, Stamp, StateName, Transition, Uptime,
};
use sandscope_store::StoreError;

use super::commit::Next;
use super::held::Driver;
use crate::RequestError;

/// Samples that are summed up with a death: a minute's, at the usual interval.
const LAST_SAMPLES: u32 = 12;
/// The least time between two events about kills for lack of memory: what forks and dies all the time must not fill
/// the log. Kills in between are counted in the next one, or in the sandbox's end.
const OOM_SPACING: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);

impl Driver {
    /// The change that an end makes, with what was last measured of the sandbox.
    pub(super) async fn next_death(&self, transition: Transition, at: Stamp) -> Result<Next, RequestError> {
        let mut next = self.next(transition, at)?;
        if let Some(Fact::Killed(death)) = next.event.as_mut().map(|event| &mut event.fact) {
            death.last_samples = self.last_samples().await;
        }
        Ok(next)
    }

    async fn last_samples(&self) -> Option<SampleSummary> {
        match self.context.facts.newest_samples(&self.sandbox.id, LAST_SAMPLES).await {
            Ok(samples) => SampleSummary::of(&samples),
            Err(error) => {
                tracing::warn!(sandbox_id = %self.sandbox.id, %error, "its last samples cannot be read");
                None
            }
        }
    }

    /// When kills for lack of memory are to be published, if any are.
    pub(super) fn oom_due(&self) -> Option<Uptime> {
        let n_kills = *self.oom.borrow();
        let is_news = n_kills > self.oom_published.n_kills.unwrap_or(0);
        let is_alive = matches!(self.sandbox.state.name(), StateName::Running | StateName::Paused);
        (is_news && is_alive).then(|| self.oom_published.not_before.unwrap_or(Uptime::ZERO))
    }

    /// Publishes kills for lack of memory. What cannot be recorded now is tried again.
    pub(super) async fn tell_oom(&mut self) {
        let published = self.record_oom().await;
        let pause = match published {
            Ok(()) => OOM_SPACING,
            Err(error) => {
                tracing::error!(sandbox_id = %self.sandbox.id, %error, "a kill for lack of memory is not published yet");
                RETRY
            }
        };
        self.oom_published.not_before = Some(self.context.clock.uptime().after(pause));
    }

    async fn record_oom(&mut self) -> Result<(), StoreError> {
        let n_told = match self.oom_published.n_kills {
            Some(n_told) => n_told,
            None => self.n_oom_kills_in_log().await?,
        };
        self.oom_published.n_kills = Some(n_told);
        let n_total = *self.oom.borrow();
        if n_total <= n_told {
            return Ok(());
        }
        let fact = Fact::OutOfMemory(OomKills { n_new: n_total - n_told, n_total });
        self.origin = Origin::system(Component::Runtime);
        let next = self.next_in_state(fact, |_| ());
        self.commit(&next).await?;
        self.oom_published.n_kills = Some(n_total);
        Ok(())
    }

    async fn n_oom_kills_in_log(&self) -> Result<u64, StoreError> {
        let (team, id) = (self.sandbox.team_id, &self.sandbox.id);
        let newest = self.context.facts.newest_event(team, id, EventType::OutOfMemory).await?;
        Ok(match newest.map(|event| event.draft.fact) {
            Some(Fact::OutOfMemory(kills)) => kills.n_total,
            _ => 0,
        })
    }

    /// What makes it of no use any more, if anything does.
    pub(super) fn fatal_ailment(&self) -> Option<Cause> {
        let is_running = self.sandbox.state.name() == StateName::Running;
        (*self.ailment.borrow()).filter(|_| is_running)
    }

    /// Ends a sandbox that is of no use any more, unless it has recovered meanwhile.
    pub(super) async fn end_ailing(&mut self, cause: Cause) {
        self.ailment.mark_unchanged();
        if self.context.engine.check(&self.sandbox.id).await.is_ok() {
            tracing::info!(sandbox_id = %self.sandbox.id, "it is well again");
            self.forget_ailment();
            return;
        }
        self.origin = Origin::system(Component::Runtime);
        let Err(error) = self.kill_for(cause).await else { return };
        tracing::error!(sandbox_id = %self.sandbox.id, %error, "it is of no use any more, but cannot be ended yet");
        // Refused as the server stops: nothing is left to be done.
        let _ = self.back_off(RETRY).await;
    }

    fn forget_ailment(&self) {
        if let Some(handle) = self.context.registry.any(&self.sandbox.id) {
            handle.ailment.send_replace(None);
        }
    }

    /// Ends it although nobody asked, and says why.
    pub(super) async fn kill_for(&mut self, cause: Cause) -> Result<(), RequestError> {
        let requested = Transition::KillRequested { reason: cause.reason(), cause: Some(cause) };
        let intent = self.next(requested, self.context.clock.stamp())?;
        self.commit(&intent).await?;
        self.finish_kill().await
    }
}
