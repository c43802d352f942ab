//! New events for those who wait for them: streams and long polls.
//!
//! ```text
//! store's feed ─► one task ─► of each team somebody waits for: a run of its newest events, rendered once
//!                                   │ wakes                          ▲ takes
//!                                   └────────► readers (bounded) ────┘──── behind the run: the log
//! ```
//!
//! A reader holds nothing but its position. It takes what follows from the run, and reads the log where the run does
//! not reach back that far: at its start, after a pause, or after this task itself fell behind the feed (the runs are
//! emptied then). So neither a slow nor a stuck reader costs the writer anything, and memory is bounded by teams with
//! readers, not by readers.
//!
//! This is no `Tail` of the store: a tail would read every team's log after it fell behind, though nobody waits for
//! most of them, and each reader has a filter of its own and must say what retention has removed.
//!
//! Ownership: a team's run lives while it has readers; the task lives from the first reader until the server drains.
//! One that fails is followed by another after a moment, which sends every reader to the log first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sandscope_model::{Event, TeamId};
use sandscope_store::{EventFeed, EventLog, Heard};
use sandscope_tasks::{Phase, Task, Tasks};
use sandscope_wire::event::render_text;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::health::Health;

/// Events kept for the readers of a team.
const RUN: usize = 512;

/// Ends the connection a request came on: the server of the router puts it into the request's extensions. Without
/// one, an answer that nobody reads only ends.
#[derive(Debug, Clone)]
pub struct Hangup(pub Arc<Notify>);

/// Bounds of event streams.
#[derive(Debug, Clone, Copy)]
pub struct StreamOptions {
    /// Streams and waiting requests of one team at once.
    pub max_per_team: usize,
    /// Longest silence.
    pub heartbeat: Duration,
    /// How long a reader may leave no room for more before it is cut off.
    pub stall: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        let (heartbeat, stall) = (Duration::from_secs(15), Duration::from_secs(30));
        Self { max_per_team: 1000, heartbeat, stall }
    }
}

/// A committed event, rendered as the stream sends it.
#[derive(Debug)]
pub(crate) struct RenderedEvent {
    pub(crate) event: Arc<Event>,
    pub(crate) frame: Bytes,
}

/// One event of the stream. Data without line breaks: JSON has none.
pub(crate) fn frame(event: &Event) -> Bytes {
    format!("id: {}\ndata: {}\n\n", event.sequence, render_text(event)).into()
}

/// The readers of all teams.
pub(crate) struct EventReaders {
    events: EventLog,
    health: watch::Receiver<Health>,
    max_readers: usize,
    teams: Arc<Mutex<Teams>>,
    tasks: Tasks,
}

#[derive(Default)]
struct Teams {
    /// Whether the task runs.
    started: bool,
    channels: HashMap<TeamId, Channel>,
}

struct Channel {
    n_readers: usize,
    run: Arc<Mutex<VecDeque<Arc<RenderedEvent>>>>,
    changes: watch::Sender<u64>,
}

/// What follows a reader's position.
pub(crate) enum Next {
    /// These events, without a gap.
    Events(Vec<Arc<RenderedEvent>>),
    /// The run does not reach back that far.
    ReadLog,
    /// Nothing yet.
    Nothing,
}

/// Somebody who waits for a team's events.
pub(crate) struct Reader {
    team: TeamId,
    teams: Arc<Mutex<Teams>>,
    run: Arc<Mutex<VecDeque<Arc<RenderedEvent>>>>,
    changes: watch::Receiver<u64>,
    health: watch::Receiver<Health>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventReaders {
    pub(crate) fn new(
        events: EventLog,
        health: watch::Receiver<Health>,
        streams: StreamOptions,
        tasks: Tasks,
    ) -> Self {
        Self { events, health, max_readers: streams.max_per_team, teams: Arc::default(), tasks }
    }

    /// Readers a team may have at once.
    pub(crate) const fn max_readers(&self) -> usize {
        self.max_readers
    }

    /// A reader of the team's events; none if it has as many as it may. Whatever is committed from now on wakes it;
    /// what was committed before is in the log.
    pub(crate) fn join(&self, team: TeamId) -> Option<Reader> {
        let mut teams = lock(&self.teams);
        if !teams.started {
            teams.started = true;
            let (events, follows) = (self.events.clone(), Arc::clone(&self.teams));
            let stop = self.tasks.stopping(Phase::Listen);
            // The first one here, so that nothing is missed in between.
            let mut feed = Some(self.events.subscribe_events());
            self.tasks.start(Task::restart("event-streams", Phase::Listen), move || {
                // What came after one that failed is in the log, as if the next had fallen behind.
                let feed = feed.take().unwrap_or_else(|| {
                    let feed = events.subscribe_events();
                    lock(&follows).send_to_log();
                    feed
                });
                follow(feed, Arc::clone(&follows), stop.clone())
            });
        }
        let channel = teams.channels.entry(team).or_insert_with(|| Channel {
            n_readers: 0,
            run: Arc::default(),
            changes: watch::Sender::new(0),
        });
        if channel.n_readers >= self.max_readers {
            if channel.n_readers == 0 {
                teams.channels.remove(&team);
            }
            return None;
        }
        channel.n_readers += 1;
        Some(Reader {
            team,
            run: Arc::clone(&channel.run),
            changes: channel.changes.subscribe(),
            teams: Arc::clone(&self.teams),
            health: self.health.clone(),
        })
    }
}

/// Hands the feed's events to the teams' readers.
async fn follow(mut feed: EventFeed, teams: Arc<Mutex<Teams>>, stop: CancellationToken) {
    loop {
        let news = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            news = feed.next() => news,
        };
        let mut teams = lock(&teams);
        match news {
            Some(Heard::Event(event)) => {
                if let Some(channel) = teams.channels.get_mut(&event.team_id) {
                    push(&mut lock(&channel.run), event);
                    channel.changes.send_modify(|n| *n += 1);
                }
            }
            Some(Heard::Missed(n)) => {
                tracing::debug!(n, "fell behind the feed; readers read the log");
                teams.send_to_log();
            }
            None => return,
        }
    }
}

impl Teams {
    /// Empties the runs: every reader reads the log next.
    fn send_to_log(&mut self) {
        for channel in self.channels.values_mut() {
            lock(&channel.run).clear();
            channel.changes.send_modify(|n| *n += 1);
        }
    }
}

fn push(run: &mut VecDeque<Arc<RenderedEvent>>, event: Arc<Event>) {
    if run.back().is_some_and(|last| last.event.sequence + 1 != event.sequence) {
        run.clear();
    }
    if run.len() == RUN {
        run.pop_front();
    }
    let frame = frame(&event);
    run.push_back(Arc::new(RenderedEvent { event, frame }));
}

impl Reader {
    /// What follows number `after`, at most `max` events.
    pub(crate) fn next(&self, after: u64, max: usize) -> Next {
        let run = lock(&self.run);
        let (Some(first), Some(last)) = (run.front(), run.back()) else { return Next::ReadLog };
        if after >= last.event.sequence {
            return Next::Nothing;
        }
        let Some(skip) = (after + 1).checked_sub(first.event.sequence) else { return Next::ReadLog };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Next::Events(run.iter().skip(skip).take(max).cloned().collect())
    }

    /// Completes once there was anything new since the last call. `false`: the server is about to stop.
    pub(crate) async fn changed(&mut self) -> bool {
        let Self { changes, health, .. } = self;
        tokio::select! {
            biased;
            _ = health.wait_for(|health| *health == Health::Draining) => false,
            changed = changes.changed() => changed.is_ok(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut teams = lock(&self.teams);
        if let Some(channel) = teams.channels.get_mut(&self.team) {
            channel.n_readers -= 1;
            if channel.n_readers == 0 {
                teams.channels.remove(&self.team);
            }
        }
    }
}

#[cfg(test)]
#[path = "event_readers_tests.rs"]
mod tests;
