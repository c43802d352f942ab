use std::collections::BTreeMap;
use std::time::Duration;

use sandscope_model::TeamId;
use sandscope_store::{Store, StoreError};
use tokio::sync::broadcast::error::RecvError;

use crate::Signal;
use crate::courier::{Courier, Stopped};
use crate::render;

/// Events in one request.
const PAGE: u32 = 256;
/// How often the log is looked at although the feed tells of nothing.
const SCAN: Duration = Duration::from_secs(5);
/// How long the store is left alone after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Brings every event of every team to the collector, a sandbox's in the order they happened.
pub(crate) struct EventPump {
    pub(crate) store: Store,
    pub(crate) courier: Courier,
    /// Up to where each team's events are taken.
    pub(crate) cursors: BTreeMap<TeamId, u64>,
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
        let mut feed = self.store.subscribe_events();
        let shared = self.courier.shared.clone();
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
                () = shared.clock.sleep(SCAN) => {}
                heard = feed.recv() => match heard {
                    // What else was heard comes out of the log as well.
                    Ok(_) | Err(RecvError::Lagged(_)) => feed = feed.resubscribe(),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Everything that is owed.
    async fn round(&mut self) -> Result<(), Halt> {
        for team in self.store.teams().await? {
            while self.page(team.id).await? {}
        }
        self.courier.shared.stats.waiting(Signal::Events, self.n_behind().await?);
        Ok(())
    }

    /// The team's next events; whether there may be more.
    async fn page(&mut self, team: TeamId) -> Result<bool, Halt> {
        let cursor = self.cursors.get(&team).copied().unwrap_or(0);
        let events = self.store.events_after(team, cursor, PAGE).await?;
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(false) };
        let stats = &self.courier.shared.stats;
        let n_gone = first.sequence.saturating_sub(cursor + 1);
        if n_gone > 0 {
            stats.dropped(Signal::Events, n_gone);
            tracing::warn!(n_gone, team_id = %team, "events were removed by retention before the collector took them");
        }
        stats.waiting(Signal::Events, self.n_behind().await?);
        let now = self.courier.shared.clock.now();
        let upto = last.sequence;
        let records: Vec<_> = events.iter().map(|event| render::event(event, now)).collect();
        self.courier.deliver(&records).await?;
        self.store.move_event_export(team, upto).await?;
        self.cursors.insert(team, upto);
        Ok(true)
    }

    async fn n_behind(&self) -> Result<u64, StoreError> {
        let mut n = 0;
        for team in self.store.teams().await? {
            let cursor = self.cursors.get(&team.id).copied().unwrap_or(0);
            n += self.store.last_sequence(team.id).await?.saturating_sub(cursor);
        }
        Ok(n)
    }
}
