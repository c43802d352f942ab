//! What is due to one webhook: the cursor and the exceptions, as pure bookkeeping. All times are on the deliverer's line.
//!
//! ```text
//! the team's log   1 2 3 4 5 6 7 8 9 …
//!                      ▲   ╰─┬─╯ ▲
//!                   cursor  open  fetched       open:    read from the log, not settled: ready or in flight
//!                  ╰──┬──╯                      settled: delivered, not wanted, or set aside
//!                     └─ exceptions set aside   each with attempts made and the time of the next
//! ```
//!
//! Everything up to the cursor is delivered, not wanted, or an exception; so cursor and exceptions, when stored
//! together, say exactly what is still due. [`Progress`] is the difference to what is stored. Attempts in flight and
//! those that ended since the last store are what a crash would repeat: together they never exceed the *limit*.
//!
//! One event that takes long does not hold up the cursor for the others: once they are too far ahead of it, it is set
//! aside as an exception that is due at once, which is true and keeps it due. What waits for it is set aside with it.
//!
//! **Order.** An event waits for the earlier ones of its lane (what it is about; or everything, where the order is
//! strict) until they are delivered or exhausted. What a replay sends again is in no order with what comes for the
//! first time.

mod recording;
mod replaying;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sandscope_model::{Event, Ordering, SubjectKey, Timestamp, WebhookId};
use sandscope_store::Owed;

pub(crate) use recording::Progress;
use recording::{Counts, Recording, Unrecorded};

/// Events read ahead.
const MAX_OPEN: usize = 64;
/// Exceptions awaiting a retry; beyond it no new event is read from the log, which keeps them in order of age.
const MAX_PENDING: usize = 1_000;

/// An attempt to be made.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sequence: u64,
    /// The event; a retry reads it from the log again.
    pub(crate) event: Option<Arc<Event>>,
    /// What it is about, where that is known.
    pub(crate) subject: Option<SubjectKey>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The receiver took it.
    Delivered,
    /// It did not.
    Failed,
    /// The event is no longer wanted, or no longer exists.
    Dropped,
    /// No attempt could be made, for a reason of ours; to be tried again at this time.
    Postponed(Timestamp),
}

struct Open {
    event: Arc<Event>,
    /// Since when it waits.
    since: Timestamp,
    subject: SubjectKey,
    in_flight: bool,
}

struct Pending {
    n_attempts: u32,
    /// In `due` under this time, unless its attempt is in flight.
    due_at: Timestamp,
    in_flight: bool,
    subject: Option<SubjectKey>,
    /// At hand for the first attempt of a replay.
    event: Option<Arc<Event>>,
    replay: Option<i64>,
    was_exhausted: bool,
}

pub(crate) struct Backlog {
    webhook_id: WebhookId,
    limit: usize,
    ordering: Ordering,
    fetched: u64,
    open: BTreeMap<u64, Open>,
    pending: BTreeMap<u64, Pending>,
    due: BTreeSet<(Timestamp, u64)>,
    /// What is neither settled nor in flight, by what it is about, replays apart: later events about the same wait for
    /// it.
    waiting: HashMap<SubjectKey, BTreeSet<u64>>,
    n_in_flight: usize,
    /// What has an attempt about it in flight.
    busy: HashSet<SubjectKey>,
    retried_last: bool,
    stored_cursor: u64,
    /// Settled beyond the stored cursor.
    ahead: BTreeSet<u64>,
    /// Attempted, and not stored yet.
    exposed: BTreeSet<u64>,
    unrecorded: BTreeMap<u64, Unrecorded>,
    replays: BTreeMap<i64, Counts>,
    recording: Option<Recording>,
}

impl Backlog {
    /// Continues from what is stored. A crash may repeat up to `limit` deliveries.
    pub(crate) fn new(
        webhook_id: WebhookId,
        limit: usize,
        ordering: Ordering,
        cursor: u64,
        owed: Vec<Owed>,
    ) -> Self {
        let mut backlog = Self {
            webhook_id,
            limit: limit.max(1),
            ordering,
            fetched: cursor,
            open: BTreeMap::new(),
            pending: BTreeMap::new(),
            due: BTreeSet::new(),
            waiting: HashMap::new(),
            n_in_flight: 0,
            busy: HashSet::new(),
            retried_last: false,
            stored_cursor: cursor,
            ahead: BTreeSet::new(),
            exposed: BTreeSet::new(),
            unrecorded: BTreeMap::new(),
            replays: BTreeMap::new(),
            recording: None,
        };
        for Owed { exception, subject } in owed {
            // Stored ahead of a cursor that did not get that far: the log will show these events again.
            if exception.sequence > cursor {
                backlog.ahead.insert(exception.sequence);
            }
            if let Some(due_at) = exception.next_due_at {
                let pending = Pending {
                    n_attempts: exception.n_attempts,
                    due_at,
                    in_flight: false,
                    subject,
                    event: None,
                    replay: exception.replay_no,
                    was_exhausted: exception.was_exhausted,
                };
                backlog.put_pending(exception.sequence, pending);
            }
        }
        backlog
    }

    /// Follows changed settings.
    pub(crate) fn configure(&mut self, limit: usize, ordering: Ordering) {
        self.limit = limit.max(1);
        self.ordering = ordering;
    }

    /// The last event read from the log.
    pub(crate) const fn fetched(&self) -> u64 {
        self.fetched
    }

    /// The oldest event that was read and is not settled, and since when it waits.
    pub(crate) fn oldest(&self) -> Option<(&Arc<Event>, Timestamp)> {
        self.open.values().next().map(|open| (&open.event, open.since))
    }

    /// How many more events may be read.
    pub(crate) fn room(&self) -> usize {
        if self.pending.len() >= MAX_PENDING { 0 } else { MAX_OPEN.saturating_sub(self.open.len()) }
    }

    /// Whether it is worth reading the log: for many events, or because those at hand do not fill the window.
    pub(crate) fn wants_to_read(&self) -> bool {
        let is_ready =
            |(sequence, open): &(&u64, &Open)| !open.in_flight && !self.is_blocked(**sequence, &open.subject);
        let n_vacant = self.limit.saturating_sub(self.n_in_flight + self.exposed.len());
        self.room() >= MAX_OPEN / 2 || self.open.iter().filter(is_ready).take(n_vacant).count() < n_vacant
    }

    /// Takes in the next event of the log, which happened at `since`. One seen already is ignored.
    pub(crate) fn offer(&mut self, event: Arc<Event>, since: Timestamp, wanted: bool) {
        if event.sequence <= self.fetched {
            return;
        }
        self.fetched = event.sequence;
        if wanted && !self.ahead.contains(&event.sequence) {
            let subject = event.subject.key();
            self.waiting.entry(subject.clone()).or_default().insert(event.sequence);
            self.open.insert(event.sequence, Open { event, since, subject, in_flight: false });
        }
    }

    /// The next attempt to make, if one is due and a crash would not repeat too many.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Job> {
        if self.n_in_flight + self.exposed.len() >= self.limit {
            return None;
        }
        // By turns, so that neither new events nor retries starve the other.
        let job = if self.retried_last {
            self.next_first().or_else(|| self.next_retry(now))
        } else {
            self.next_retry(now).or_else(|| self.next_first())
        }?;
        self.retried_last = !self.open.contains_key(&job.sequence);
        self.n_in_flight += 1;
        self.busy.extend(job.subject.clone());
        Some(job)
    }

    /// Whether something earlier of its lane has to be settled first.
    fn is_blocked(&self, sequence: u64, subject: &SubjectKey) -> bool {
        match self.ordering {
            Ordering::None => false,
            Ordering::Sandbox => {
                let waits = |earlier: &BTreeSet<u64>| earlier.first().is_some_and(|first| *first < sequence);
                self.busy.contains(subject) || self.waiting.get(subject).is_some_and(waits)
            }
            Ordering::Strict => {
                let mut earlier = self.pending.range(..sequence);
                self.n_in_flight > 0
                    || self.open.range(..sequence).next().is_some()
                    || earlier.any(|(_, pending)| pending.replay.is_none())
            }
        }
    }

    fn next_retry(&mut self, now: Timestamp) -> Option<Job> {
        let due = self.due.iter().take_while(|(due_at, _)| *due_at <= now);
        let (due_at, sequence) = due.copied().find(|(_, sequence)| {
            self.pending.get(sequence).is_some_and(|pending| match &pending.subject {
                Some(subject) if pending.replay.is_some() => {
                    self.ordering == Ordering::None || !self.busy.contains(subject)
                }
                Some(subject) => !self.is_blocked(*sequence, subject),
                None => true,
            })
        })?;
        self.due.remove(&(due_at, sequence));
        let pending = self.pending.get_mut(&sequence)?;
        pending.in_flight = true;
        let (event, subject) = (pending.event.take(), pending.subject.clone());
        self.stop_waiting(subject.as_ref(), sequence);
        Some(Job { sequence, event, subject })
    }

    fn next_first(&mut self) -> Option<Job> {
        let sequence = self.open.iter().find_map(|(sequence, open)| {
            let ready = !open.in_flight && !self.is_blocked(*sequence, &open.subject);
            ready.then_some(*sequence)
        })?;
        let open = self.open.get_mut(&sequence)?;
        open.in_flight = true;
        let (event, subject) = (Arc::clone(&open.event), open.subject.clone());
        self.stop_waiting(Some(&subject), sequence);
        Some(Job { sequence, subject: Some(subject), event: Some(event) })
    }

    /// When the next retry is due.
    pub(crate) fn next_due_at(&self) -> Option<Timestamp> {
        self.due.first().map(|(due_at, _)| *due_at)
    }

    /// A job has ended; whether it was the last attempt. `next_due` says when the next one follows, given how many
    /// were made.
    pub(crate) fn settle(
        &mut self,
        job: &Job,
        settled: Settled,
        next_due: impl FnOnce(u32) -> Option<Timestamp>,
    ) -> bool {
        let sequence = job.sequence;
        self.n_in_flight = self.n_in_flight.saturating_sub(1);
        if let Some(subject) = &job.subject {
            self.busy.remove(subject);
        }
        self.exposed.insert(sequence);
        let was_open = self.open.remove(&sequence).is_some();
        let before = self.pending.remove(&sequence);
        let n_before = before.as_ref().map_or(0, |pending| pending.n_attempts);
        let replay = before.as_ref().and_then(|pending| pending.replay);
        let next = match settled {
            Settled::Delivered | Settled::Dropped => None,
            Settled::Failed => Some((n_before + 1, next_due(n_before + 1))),
            Settled::Postponed(due_at) => Some((n_before, Some(due_at))),
        };
        let exhausted = matches!(next, Some((_, None)));
        if let Some(no) = replay {
            let counts = self.replays.entry(no).or_default();
            counts.n_delivered += u64::from(settled == Settled::Delivered);
            counts.n_dropped += u64::from(settled == Settled::Dropped);
            counts.n_failed += u64::from(exhausted);
        }
        match next {
            // It was never an exception: the cursor covers it.
            None if was_open => {}
            None => {
                self.unrecorded.insert(sequence, Unrecorded::Clear);
            }
            Some((n_attempts, next_due_at)) => {
                let replay = replay.filter(|_| !exhausted);
                let was_exhausted = before.is_some_and(|pending| pending.was_exhausted) && !exhausted;
                let change = Unrecorded::Set { n_attempts, next_due_at, replay, was_exhausted };
                self.unrecorded.insert(sequence, change);
                if let Some(due_at) = next_due_at {
                    let subject = job.subject.clone();
                    let pending = Pending {
                        n_attempts,
                        due_at,
                        in_flight: false,
                        subject,
                        event: None,
                        replay,
                        was_exhausted,
                    };
                    self.put_pending(sequence, pending);
                }
            }
        }
        if sequence > self.stored_cursor {
            self.ahead.insert(sequence);
        }
        exhausted
    }

    fn put_pending(&mut self, sequence: u64, pending: Pending) {
        if !pending.in_flight {
            self.due.insert((pending.due_at, sequence));
            if let Some(subject) = pending.subject.clone().filter(|_| pending.replay.is_none()) {
                self.waiting.entry(subject).or_default().insert(sequence);
            }
        }
        self.pending.insert(sequence, pending);
    }

    fn stop_waiting(&mut self, subject: Option<&SubjectKey>, sequence: u64) {
        let Some(subject) = subject else { return };
        if let Some(waiting) = self.waiting.get_mut(subject) {
            waiting.remove(&sequence);
            if waiting.is_empty() {
                self.waiting.remove(subject);
            }
        }
    }

    fn take_pending(&mut self, sequence: u64) -> Option<Pending> {
        let pending = self.pending.remove(&sequence)?;
        self.due.remove(&(pending.due_at, sequence));
        self.stop_waiting(pending.subject.as_ref(), sequence);
        Some(pending)
    }

    /// Gives up everything that awaits a retry: what is not delivered by now counts as exhausted.
    pub(crate) fn exhaust_pending(&mut self) {
        for (sequence, pending) in std::mem::take(&mut self.pending) {
            if let Some(no) = pending.replay {
                self.replays.entry(no).or_default().n_failed += 1;
            }
            let given_up = Unrecorded::Set {
                n_attempts: pending.n_attempts,
                next_due_at: None,
                replay: None,
                was_exhausted: false,
            };
            self.unrecorded.insert(sequence, given_up);
        }
        self.due.clear();
        let open = &self.open;
        self.waiting.retain(|_, waiting| {
            waiting.retain(|sequence| open.contains_key(sequence));
            !waiting.is_empty()
        });
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
