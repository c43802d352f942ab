use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Event, Signal, TeamId};
use sandscope_store::{Batch, EventLog, Logs, StoreError, Tail};

use crate::courier::{Courier, Stopped};
use crate::render;

/// Events in one request.
const PAGE: u32 = 256;
/// How often the logs are looked at although the feed says nothing.
const SCAN: Duration = Duration::from_secs(5);
/// How long the store is left alone after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Brings every event of every team to the collector, a sandbox's in the order they happened.
pub(crate) struct EventPump {
    pub(crate) events: EventLog,
    pub(crate) logs: Logs,
    pub(crate) courier: Courier,
    /// The events, from behind what the collector has taken: where that is, is read when the pump begins.
    pub(crate) tail: Tail,
}

/// Why a round ended early.
enum Halt {
    Stopped,
    Store(StoreError),
}

impl From<Stopped> for Halt {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl EventPump {
    pub(crate) async fn run(mut self) {
        let shared = self.courier.shared.clone();
        loop {
            match self.begin().await {
                Ok(cursors) => break self.tail = self.events.tail(cursors),
                Err(error) => tracing::warn!(%error, "it cannot be read how far events are exported"),
            }
            if !shared.wait(STORE_PAUSE).await {
                return;
            }
        }
        loop {
            // Asked before, so that what is committed until then still goes out.
            let is_last = shared.stop.is_cancelled();
            match self.round().await {
                Ok(()) => {}
                Err(Halt::Stopped) => return,
                Err(Halt::Store(error)) => {
                    tracing::warn!(%error, "events cannot be exported for now");
                    if !shared.wait(STORE_PAUSE).await {
                        return;
                    }
                    continue;
                }
            }
            if is_last {
                return;
            }
            tokio::select! {
                () = shared.stop.cancelled() => {}
                () = shared.clock.sleep(SCAN) => self.tail.look_again(),
                open = self.tail.changed() => if open.is_err() { return },
            }
        }
    }

    /// Delivers everything that is committed.
    async fn round(&mut self) -> Result<(), Halt> {
        while let Some(batch) = self.tail.try_next(PAGE).await? {
            let (team, after) = (batch.team_id, batch.after);
            let delivered = self.deliver(batch).await;
            if delivered.is_err() {
                self.tail.rewind(team, after);
            }
            delivered?;
        }
        self.courier.shared.stats.waiting(Signal::Events, self.n_behind().await?);
        Ok(())
    }

    async fn deliver(&mut self, batch: Batch<Arc<Event>>) -> Result<(), Halt> {
        let Batch { team_id: team, events, n_lost, .. } = batch;
        let Some(upto) = events.last().map(|event| event.sequence) else { return Ok(()) };
        let stats = &self.courier.shared.stats;
        if n_lost > 0 {
            stats.dropped(Signal::Events, n_lost);
            tracing::warn!(n_lost, team_id = %team, "retention removed events before the collector took them");
        }
        stats.waiting(Signal::Events, self.n_behind().await? + events.len() as u64);
        let now = self.courier.shared.clock.now();
        let records: Vec<_> = events.iter().map(|event| render::event(event, now)).collect();
        self.courier.deliver(&records).await?;
        self.logs.move_event_export(team, upto).await?;
        Ok(())
    }

    /// Up to where each team's events were exported.
    async fn begin(&self) -> Result<BTreeMap<TeamId, u64>, StoreError> {
        self.logs.begin_event_export(self.events.ends().await?).await
    }

    /// Committed events that were not handed out yet.
    async fn n_behind(&self) -> Result<u64, StoreError> {
        let ends = self.events.ends().await?;
        Ok(ends.into_iter().map(|(team, end)| end.saturating_sub(self.tail.position(team))).sum())
    }
}
