//! Every committed event, in the order of its team's log: none skipped, none repeated, and no reader waited for.
//!
//! ```text
//!   writer ── after each commit ──► feed (bounded, in memory) ──► EventFeed ─► what is heard, and that something was missed
//!                                                                     │
//!                                           Tail: a position a team ──┤ follows on it: handed out from memory
//!                                                                     └ does not:     the log, in bounded steps
//! ```
//!
//! A [`Tail`] is for whoever takes every event. An [`EventFeed`] alone is for whoever hands events on to readers with
//! positions of their own, which read the log themselves where their hand-off has not got what follows.
//!
//! Ownership: the reader owns its positions and makes them durable where it must; [`Tail`] begins from them. Failure: an
//! error of the store changes nothing, and the same call is made again. A call that is dropped halfway loses nothing.

mod positions;

use std::collections::BTreeMap;
use std::sync::Arc;

use sandscope_model::{Event, EventCounts, TeamId};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use crate::EventLog;
use crate::error::StoreError;
use crate::facts::events::Stretch;
use crate::feed::FEED;
pub use positions::Batch;
use positions::{Positions, Step};

/// What the feed says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event was committed.
    Event(Arc<Event>),
    /// So many events were committed that this reader was too slow to hear: they are in the log.
    Missed(u64),
}

/// The events that this process commits from now on, in the order of each team's log.
#[derive(Debug)]
pub struct EventFeed(broadcast::Receiver<Arc<Event>>);

impl EventFeed {
    /// The next thing the feed says; `None` once the store is gone. A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(RecvError::Lagged(n)) => Some(Heard::Missed(n)),
            Err(RecvError::Closed) => None,
        }
    }

    /// What the feed has said already; `None` if that is nothing.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.0.try_recv() {
            Ok(event) => Some(Heard::Event(event)),
            Err(TryRecvError::Lagged(n)) => Some(Heard::Missed(n)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

/// Follows the logs of all teams, each from a position.
#[derive(Debug)]
pub struct Tail {
    log: EventLog,
    feed: EventFeed,
    /// `None` until it is known where the logs ended when the feed was subscribed to.
    positions: Option<Positions<Arc<Event>>>,
}

impl EventLog {
    /// How many events this process has committed, by what they are.
    pub fn committed(&self) -> EventCounts {
        self.inner.feed.committed.counts()
    }

    /// The feed: every event committed by this process from now on, in the order of its team's log.
    pub fn subscribe_events(&self) -> EventFeed {
        EventFeed(self.inner.feed.events.subscribe())
    }

    /// Every event that follows `after`, the number of the last one taken of each team; of teams that it does not name
    /// every event there is.
    pub fn tail(&self, after: BTreeMap<TeamId, u64>) -> Tail {
        let positions = Some(Positions::resume(after));
        Tail { log: self.clone(), feed: self.subscribe_events(), positions }
    }

    /// Every event of every team that is committed from now on.
    pub fn tail_from_now(&self) -> Tail {
        Tail { log: self.clone(), feed: self.subscribe_events(), positions: None }
    }
}

impl Tail {
    /// The next events of one team, at most `max` of them (at least 1); waits until there are some. Teams take turns. A
    /// call that is dropped loses nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read; the next call tries again. [`StoreError::Closed`] once the store is
    /// gone.
    pub async fn next(&mut self, max: u32) -> Result<Batch<Arc<Event>>, StoreError> {
        loop {
            if let Some(batch) = self.try_next(max).await? {
                return Ok(batch);
            }
            self.changed().await?;
        }
    }

    /// Like [`next`](Self::next), but `None` where nothing is committed that has not been taken.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn try_next(&mut self, max: u32) -> Result<Option<Batch<Arc<Event>>>, StoreError> {
        if self.positions.is_none() {
            self.positions = Some(begin(&self.log, &mut self.feed).await?);
        }
        let Some(positions) = &mut self.positions else { return Ok(None) };
        // A writer that never rests must not keep its reader listening for ever.
        for heard in listen(&mut self.feed) {
            hear(positions, heard);
        }
        loop {
            match positions.step(max) {
                Step::Deliver(batch) => return Ok(Some(batch)),
                Step::List => {
                    positions.list(self.log.ends().await?.into_keys());
                }
                Step::Read { team_id, after } => {
                    let Stretch { events, more } = self.log.stretch_after(team_id, after, max.max(1)).await?;
                    let found = events.into_iter().map(|event| (event.sequence, Arc::new(event)));
                    if let Some(batch) = positions.read(team_id, more, found.collect()) {
                        return Ok(Some(batch));
                    }
                }
                Step::Idle => return Ok(None),
            }
        }
    }

    /// Completes once the feed says something, or earlier. Made for a loop that has taken everything there is. A call
    /// that is dropped loses nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the logs' ends cannot be read at the beginning; [`StoreError::Closed`] once the store is gone.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        match &mut self.positions {
            Some(positions) => hear(positions, self.feed.next().await.ok_or(StoreError::Closed)?),
            None => self.positions = Some(begin(&self.log, &mut self.feed).await?),
        }
        Ok(())
    }

    /// Goes back to event number `after` of a team: what follows is handed out again.
    pub fn rewind(&mut self, team: TeamId, after: u64) {
        if let Some(positions) = &mut self.positions {
            positions.rewind(team, after);
        }
    }

    /// Looks into every log again: for what another process may have written, of which the feed says nothing.
    pub fn look_again(&mut self) {
        if let Some(positions) = &mut self.positions {
            positions.missed();
        }
    }

    /// The number of the last event of a team that was handed out.
    pub fn position(&self, team: TeamId) -> u64 {
        self.positions.as_ref().map_or(0, |positions| positions.of(team))
    }
}

/// Where the logs ended when the feed was subscribed to: where they end now, without what was heard since.
async fn begin(log: &EventLog, feed: &mut EventFeed) -> Result<Positions<Arc<Event>>, StoreError> {
    let mut after = log.ends().await?;
    // From here on nothing is awaited: what was heard must not be dropped.
    let heard = listen(feed);
    for heard in &heard {
        if let Heard::Event(event) = heard {
            let position = after.entry(event.team_id).or_default();
            *position = (*position).min(event.sequence - 1);
        }
    }
    let mut positions = Positions::caught_up(after);
    for heard in heard {
        hear(&mut positions, heard);
    }
    Ok(positions)
}

/// What the feed has said already, as much as it holds.
fn listen(feed: &mut EventFeed) -> Vec<Heard> {
    std::iter::from_fn(|| feed.try_next()).take(FEED).collect()
}

fn hear(positions: &mut Positions<Arc<Event>>, heard: Heard) {
    match heard {
        Heard::Event(event) => positions.hear(event.team_id, event.sequence, event),
        Heard::Missed(_) => positions.missed(),
    }
}
