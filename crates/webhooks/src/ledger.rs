//! What one webhook is owed: the cursor, the window and the exceptions, as pure bookkeeping.
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
//! together, say exactly what is still owed. [`Progress`] is the difference to what is stored. While it has not been
//! stored, a crash means that the deliveries it tells of are made again: [`MAX_UNRECORDED`] bounds how many.
//!
//! One event that takes long does not hold up the cursor for the others: once they are too far ahead of it, it is set
//! aside as an exception that is due at once, which is true and keeps it owed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use sandscope_model::{Event, Exception, SandboxId, Timestamp, WebhookId};

use crate::policy::RetryPolicy;

/// Events read ahead of the window.
const MAX_OPEN: usize = 64;
/// Settled deliveries that are not stored yet; no new attempt starts beyond it.
const MAX_UNRECORDED: usize = 64;
/// Exceptions awaiting a retry; beyond it no new event is read from the log, which keeps them in order of age.
const MAX_PENDING: usize = 1_000;
/// Unwanted events the stored cursor may lie behind before it is worth a write of its own.
const MAX_CURSOR_LAG: u64 = 256;

/// An attempt to be made.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sequence: u64,
    /// The event, if this is the first attempt; a retry reads it from the log again.
    pub(crate) event: Option<Arc<Event>>,
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

/// What has to be stored: cursor and exceptions, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) cursor: Option<u64>,
    pub(crate) set: Vec<Exception>,
    pub(crate) clear: Vec<u64>,
}

enum Open {
    Ready(Arc<Event>),
    InFlight,
}

#[derive(Clone, Copy)]
struct Pending {
    n_attempts: u32,
    /// In `due` under this time, unless its attempt is in flight.
    due_at: Timestamp,
}

#[derive(Clone, Copy)]
enum Unrecorded {
    Set { n_attempts: u32, next_due_at: Option<Timestamp> },
    Clear,
}

pub(crate) struct Ledger {
    webhook_id: WebhookId,
    window: usize,
    fetched: u64,
    open: BTreeMap<u64, Open>,
    pending: BTreeMap<u64, Pending>,
    due: BTreeSet<(Timestamp, u64)>,
    n_in_flight: usize,
    /// Sandboxes with a first attempt in flight: theirs are made one after the other, in order.
    busy: HashSet<SandboxId>,
    retried_last: bool,
    stored_cursor: u64,
    /// Settled beyond the stored cursor.
    ahead: BTreeSet<u64>,
    unrecorded: BTreeMap<u64, Unrecorded>,
    /// Handed out by `progress`, neither confirmed nor taken back yet.
    recording: Option<(u64, BTreeMap<u64, Unrecorded>)>,
}

impl Ledger {
    /// Continues from what is stored, with up to `window` attempts in flight.
    pub(crate) fn new(webhook_id: WebhookId, window: usize, cursor: u64, exceptions: Vec<Exception>) -> Self {
        // Stored ahead of a cursor that did not get that far: the log will show these events again.
        let ahead =
            exceptions.iter().map(|exception| exception.sequence).filter(|sequence| *sequence > cursor);
        let ahead = ahead.collect();
        let pending: BTreeMap<_, _> = exceptions
            .into_iter()
            .filter_map(|exception| {
                let due_at = exception.next_due_at?;
                let pending = Pending { n_attempts: exception.n_attempts, due_at };
                Some((exception.sequence, pending))
            })
            .collect();
        Self {
            webhook_id,
            window: window.max(1),
            fetched: cursor,
            open: BTreeMap::new(),
            due: pending.iter().map(|(sequence, pending)| (pending.due_at, *sequence)).collect(),
            pending,
            n_in_flight: 0,
            busy: HashSet::new(),
            retried_last: false,
            stored_cursor: cursor,
            ahead,
            unrecorded: BTreeMap::new(),
            recording: None,
        }
    }

    /// The last event read from the log.
    pub(crate) const fn fetched(&self) -> u64 {
        self.fetched
    }

    /// How many more events may be read.
    pub(crate) fn room(&self) -> usize {
        if self.pending.len() >= MAX_PENDING { 0 } else { MAX_OPEN.saturating_sub(self.open.len()) }
    }

    /// Takes in the next event of the log. One seen already is ignored.
    pub(crate) fn offer(&mut self, event: Arc<Event>, wanted: bool) {
        if event.sequence <= self.fetched {
            return;
        }
        self.fetched = event.sequence;
        if wanted && !self.ahead.contains(&event.sequence) {
            self.open.insert(event.sequence, Open::Ready(event));
        }
    }

    /// The next attempt to make, if one is due and the window has room.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Job> {
        let full = self.n_unrecorded() >= MAX_UNRECORDED && !self.waits_for_oldest();
        if self.n_in_flight >= self.window || full {
            return None;
        }
        // By turns, so that neither new events nor retries starve the other.
        let job = if self.retried_last || self.n_unrecorded() >= MAX_UNRECORDED {
            self.next_first().or_else(|| self.next_retry(now))
        } else {
            self.next_retry(now).or_else(|| self.next_first())
        }?;
        self.retried_last = job.event.is_none();
        self.n_in_flight += 1;
        Some(job)
    }

    /// Whether nothing can be stored because the oldest event has not been tried yet. It waited for another of its
    /// sandbox; the oldest is the first that is found, so it is what goes next.
    fn waits_for_oldest(&self) -> bool {
        let oldest_ready = match self.open.first_key_value() {
            Some((_, Open::Ready(event))) => !self.busy.contains(&event.sandbox_id),
            _ => false,
        };
        let cursor = self.cursor();
        let storable = self.recording.is_some()
            || !self.unrecorded.is_empty()
            || self.ahead.first().is_some_and(|sequence| *sequence <= cursor);
        oldest_ready && !storable
    }

    fn next_retry(&mut self, now: Timestamp) -> Option<Job> {
        let (due_at, sequence) = self.due.first().copied().filter(|(due_at, _)| *due_at <= now)?;
        self.due.remove(&(due_at, sequence));
        Some(Job { sequence, event: None })
    }

    fn next_first(&mut self) -> Option<Job> {
        let (sequence, event) = self.open.iter().find_map(|(sequence, open)| match open {
            Open::Ready(event) if !self.busy.contains(&event.sandbox_id) => {
                Some((*sequence, Arc::clone(event)))
            }
            _ => None,
        })?;
        self.busy.insert(event.sandbox_id.clone());
        self.open.insert(sequence, Open::InFlight);
        Some(Job { sequence, event: Some(event) })
    }

    /// When the next retry is due, if the window has room for it.
    pub(crate) fn next_due_at(&self) -> Option<Timestamp> {
        if self.n_in_flight >= self.window { None } else { self.due.first().map(|(due_at, _)| *due_at) }
    }

    /// A job has ended.
    pub(crate) fn settle(&mut self, job: &Job, settled: Settled, now: Timestamp, policy: &RetryPolicy) {
        let sequence = job.sequence;
        self.n_in_flight = self.n_in_flight.saturating_sub(1);
        if let Some(event) = &job.event {
            self.busy.remove(&event.sandbox_id);
        }
        let was_open = self.open.remove(&sequence).is_some();
        let n_before = self.pending.remove(&sequence).map_or(0, |pending| pending.n_attempts);
        let next = match settled {
            Settled::Delivered | Settled::Dropped => None,
            Settled::Failed => Some((n_before + 1, policy.next_due_at(n_before + 1, now))),
            Settled::Postponed(due_at) => Some((n_before, Some(due_at))),
        };
        match next {
            // It was never an exception: the cursor tells.
            None if was_open => {}
            None => {
                self.unrecorded.insert(sequence, Unrecorded::Clear);
            }
            Some((n_attempts, next_due_at)) => self.set_aside(sequence, n_attempts, next_due_at),
        }
        if sequence > self.stored_cursor {
            self.ahead.insert(sequence);
        }
    }

    fn set_aside(&mut self, sequence: u64, n_attempts: u32, next_due_at: Option<Timestamp>) {
        self.unrecorded.insert(sequence, Unrecorded::Set { n_attempts, next_due_at });
        if let Some(due_at) = next_due_at {
            self.pending.insert(sequence, Pending { n_attempts, due_at });
            self.due.insert((due_at, sequence));
        }
    }

    /// Gives up everything that awaits a retry: what is not delivered by now counts as exhausted.
    pub(crate) fn exhaust_pending(&mut self) {
        for (sequence, pending) in std::mem::take(&mut self.pending) {
            let given_up = Unrecorded::Set { n_attempts: pending.n_attempts, next_due_at: None };
            self.unrecorded.insert(sequence, given_up);
        }
        self.due.clear();
    }

    /// Everything up to here is settled.
    fn cursor(&self) -> u64 {
        self.open.first_key_value().map_or(self.fetched, |(sequence, _)| sequence - 1)
    }

    /// Deliveries that a crash would make again.
    fn n_unrecorded(&self) -> usize {
        let recording = self.recording.iter().flat_map(|(_, exceptions)| exceptions.keys());
        let retried = self.unrecorded.keys().chain(recording);
        self.ahead.len() + retried.filter(|sequence| !self.ahead.contains(sequence)).count()
    }

    /// Sets aside what has been in flight for long while others went far ahead of it.
    fn spill(&mut self, now: Timestamp) {
        if self.ahead.len() < MAX_UNRECORDED / 2 {
            return;
        }
        let ahead = self.ahead.last().copied().unwrap_or(0);
        while let Some(entry) = self.open.first_entry() {
            if *entry.key() > ahead || matches!(entry.get(), Open::Ready(_)) {
                break;
            }
            let sequence = entry.remove_entry().0;
            self.pending.insert(sequence, Pending { n_attempts: 0, due_at: now });
            self.unrecorded.insert(sequence, Unrecorded::Set { n_attempts: 0, next_due_at: Some(now) });
        }
    }

    /// What has to be stored, if anything has and nothing else is being stored. That the cursor passed unwanted
    /// events is worth a write only when they are many, or on `idle` occasions.
    pub(crate) fn progress(&mut self, now: Timestamp, idle: bool) -> Option<Progress> {
        if self.recording.is_some() {
            return None;
        }
        self.spill(now);
        let cursor = self.cursor();
        let lag = cursor - self.stored_cursor;
        let settled = self.ahead.first().is_some_and(|sequence| *sequence <= cursor);
        if self.unrecorded.is_empty() && !settled && lag < MAX_CURSOR_LAG && !(idle && lag > 0) {
            return None;
        }
        let unrecorded = std::mem::take(&mut self.unrecorded);
        let mut progress = Progress { cursor: (lag > 0).then_some(cursor), ..Progress::default() };
        for (sequence, change) in &unrecorded {
            match *change {
                Unrecorded::Clear => progress.clear.push(*sequence),
                Unrecorded::Set { n_attempts, next_due_at } => progress.set.push(Exception {
                    webhook_id: self.webhook_id,
                    sequence: *sequence,
                    n_attempts,
                    next_due_at,
                }),
            }
        }
        self.recording = Some((cursor, unrecorded));
        Some(progress)
    }

    /// The progress last handed out is stored.
    pub(crate) fn recorded(&mut self) {
        if let Some((cursor, _)) = self.recording.take() {
            self.stored_cursor = cursor;
            self.ahead = self.ahead.split_off(&(cursor + 1));
        }
    }

    /// The progress last handed out could not be stored: it is part of the next.
    pub(crate) fn not_recorded(&mut self) {
        if let Some((_, exceptions)) = self.recording.take() {
            for (sequence, change) in exceptions {
                self.unrecorded.entry(sequence).or_insert(change);
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
