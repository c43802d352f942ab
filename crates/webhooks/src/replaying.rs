//! Walking a replay: its selection is handed to the backlog in small portions, so that what is in memory stays small,
//! what comes for the first time is not held up, and a replay can be ended at any time.

use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Replay, Timestamp, Webhook, WebhookId};
use sandscope_store::{Deliveries, StoreError};

use crate::attempt::after;
use crate::backlog::Backlog;

/// Deliveries of replays in the backlog at once.
const PORTION: usize = 128;

/// The replay that is being walked.
#[derive(Default)]
pub(crate) struct Replaying {
    current: Option<(i64, Replay)>,
    /// When the next portion may be taken, so that the rate asked for is kept.
    next_at: Option<Timestamp>,
}

impl Replaying {
    /// Finds out which replay is to be walked, and ends what belongs to canceled ones.
    pub(crate) async fn look(
        &mut self,
        deliveries: &Deliveries,
        id: WebhookId,
        backlog: &mut Backlog,
    ) -> Result<(), StoreError> {
        let running = deliveries.running_replays(id).await?;
        for no in backlog.replays() {
            if !running.iter().any(|(running, _)| *running == no) {
                backlog.cancel_replay(no);
            }
        }
        let walked = self.current.take();
        self.current = running.into_iter().find(|(_, replay)| replay.next <= replay.last);
        // What has been walked and is not stored yet must not be walked again.
        if let (Some((no, replay)), Some((walked_no, walked))) = (&mut self.current, walked)
            && *no == walked_no
        {
            replay.next = replay.next.max(walked.next);
        }
        Ok(())
    }

    /// When the next portion may be taken, if something waits for that.
    pub(crate) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_at.filter(|at| self.current.is_some() && *at > now)
    }

    /// Hands the backlog what it has room for.
    pub(crate) async fn walk(
        &mut self,
        deliveries: &Deliveries,
        webhook: &Webhook,
        backlog: &mut Backlog,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        while let Some((no, replay)) = &mut self.current {
            let room = PORTION.saturating_sub(backlog.n_replayed());
            if room < PORTION / 2 || self.next_at.is_some_and(|at| at > now) {
                return Ok(());
            }
            let portion = match replay.rate_per_second {
                // A tenth of a second's worth.
                Some(rate) => room.min(usize::try_from(rate / 10).unwrap_or(usize::MAX).max(1)),
                None => room,
            };
            let limit = u32::try_from(portion).unwrap_or(u32::MAX);
            let page = deliveries.replay_page(webhook.team_id, replay.clone(), limit).await?;
            let wanted = page.events.into_iter().filter(|(event, _)| webhook.wants(event));
            let events: Vec<_> = wanted.map(|(event, lost)| (Arc::new(event), lost)).collect();
            if let Some(rate) = replay.rate_per_second {
                let n = u32::try_from(events.len()).unwrap_or(u32::MAX);
                self.next_at = Some(after(now, Duration::from_secs(1) / rate.max(1) * n));
            }
            replay.next = page.next;
            backlog.replay(*no, events, page.next, now);
            if replay.next > replay.last {
                self.current = None;
                self.next_at = None;
            }
        }
        Ok(())
    }
}
