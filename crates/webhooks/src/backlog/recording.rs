//! What a backlog has to store: the difference between what it knows and what is stored, handed out once at a time and
//! confirmed or taken back; and what is set aside so that the cursor gets on.

use std::collections::{BTreeMap, BTreeSet};

use sandscope_model::{Exception, Ordering, Timestamp};
use sandscope_store::ReplayStep;

use super::{Backlog, MAX_OPEN, Pending};

/// Unwanted events the stored cursor may lie behind before it is worth a write of its own.
const MAX_CURSOR_LAG: u64 = 256;

/// What has to be stored, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) cursor: Option<u64>,
    pub(crate) set: Vec<Exception>,
    pub(crate) clear: Vec<u64>,
    pub(crate) replays: Vec<ReplayStep>,
}

#[derive(Clone, Copy)]
pub(super) enum Unrecorded {
    Set { n_attempts: u32, next_due_at: Option<Timestamp>, replay: Option<i64>, was_exhausted: bool },
    Clear,
}

/// Counts of a replay that are not stored yet.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) next: Option<u64>,
    pub(super) n_selected: u64,
    pub(super) n_delivered: u64,
    pub(super) n_failed: u64,
    pub(super) n_dropped: u64,
}

/// Handed out by `progress`, neither confirmed nor taken back yet.
pub(super) struct Recording {
    pub(super) cursor: u64,
    pub(super) exceptions: BTreeMap<u64, Unrecorded>,
    pub(super) replays: BTreeMap<i64, Counts>,
}

impl Backlog {
    /// Everything up to here is settled.
    fn cursor(&self) -> u64 {
        self.open.first_key_value().map_or(self.fetched, |(sequence, _)| sequence - 1)
    }

    /// Sets aside what others went far ahead of.
    fn spill(&mut self, now: Timestamp) {
        let cursor = self.cursor();
        let n_stuck = self.exposed.range(cursor + 1..).count();
        if n_stuck >= (self.limit * 3 / 4).max(1)
            && let Some(last) = self.exposed.last().copied()
        {
            let overtaken = self.open.range(..last).map(|(sequence, _)| *sequence).collect();
            self.put_aside(overtaken, now);
        }
    }

    /// Sets aside what waits for a retry of its sandbox, where it leaves no room for others' events.
    pub(crate) fn make_room(&mut self, now: Timestamp) {
        if self.open.len() < MAX_OPEN || self.ordering != Ordering::Sandbox {
            return;
        }
        let held = self.open.iter().filter(|(_, open)| {
            let earliest = self.waiting.get(&open.subject).and_then(BTreeSet::first);
            let awaits_retry = earliest.is_some_and(|earliest| self.pending.contains_key(earliest));
            !open.in_flight && awaits_retry && !self.busy.contains(&open.subject)
        });
        let held = held.map(|(sequence, _)| *sequence).collect();
        self.put_aside(held, now);
    }

    fn put_aside(&mut self, sequences: Vec<u64>, now: Timestamp) {
        for sequence in sequences {
            let Some(open) = self.open.remove(&sequence) else { continue };
            let change =
                Unrecorded::Set { n_attempts: 0, next_due_at: Some(now), replay: None, was_exhausted: false };
            self.unrecorded.insert(sequence, change);
            let pending = Pending {
                n_attempts: 0,
                due_at: now,
                in_flight: open.in_flight,
                subject: Some(open.subject),
                event: None,
                replay: None,
                was_exhausted: false,
            };
            self.put_pending(sequence, pending);
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
        let settled = self.exposed.first().is_some_and(|sequence| *sequence <= cursor);
        let nothing = self.unrecorded.is_empty() && self.replays.is_empty() && !settled;
        if nothing && lag < MAX_CURSOR_LAG && !(idle && lag > 0) {
            return None;
        }
        let exceptions = std::mem::take(&mut self.unrecorded);
        let replays = std::mem::take(&mut self.replays);
        let mut progress = Progress { cursor: (lag > 0).then_some(cursor), ..Progress::default() };
        for (sequence, change) in &exceptions {
            match *change {
                Unrecorded::Clear => progress.clear.push(*sequence),
                Unrecorded::Set { n_attempts, next_due_at, replay, was_exhausted } => {
                    progress.set.push(Exception {
                        webhook_id: self.webhook_id,
                        sequence: *sequence,
                        n_attempts,
                        next_due_at,
                        replay_no: replay,
                        was_exhausted,
                    });
                }
            }
        }
        progress.replays.extend(replays.iter().map(|(no, counts)| ReplayStep {
            no: *no,
            at: now,
            next: counts.next,
            n_selected: counts.n_selected,
            n_delivered: counts.n_delivered,
            n_failed: counts.n_failed,
            n_dropped: counts.n_dropped,
        }));
        self.recording = Some(Recording { cursor, exceptions, replays });
        Some(progress)
    }

    /// The progress last handed out is stored.
    pub(crate) fn recorded(&mut self) {
        let Some(Recording { cursor, exceptions, .. }) = self.recording.take() else { return };
        self.stored_cursor = self.stored_cursor.max(cursor);
        self.ahead = self.ahead.split_off(&(cursor + 1));
        let again = &self.unrecorded;
        // An exception that was cleared ahead of the cursor has left no row behind: to a start from what is stored it is
        // an event like those that were never attempted, until the cursor passes it.
        let is_set = |sequence: &u64| matches!(exceptions.get(sequence), Some(Unrecorded::Set { .. }));
        self.exposed
            .retain(|sequence| again.contains_key(sequence) || (*sequence > cursor && !is_set(sequence)));
    }

    /// The progress last handed out could not be stored: it is part of the next.
    pub(crate) fn not_recorded(&mut self) {
        let Some(Recording { exceptions, replays, .. }) = self.recording.take() else { return };
        for (sequence, change) in exceptions {
            self.unrecorded.entry(sequence).or_insert(change);
        }
        for (no, earlier) in replays {
            let counts = self.replays.entry(no).or_default();
            counts.next = counts.next.or(earlier.next);
            counts.n_selected += earlier.n_selected;
            counts.n_delivered += earlier.n_delivered;
            counts.n_failed += earlier.n_failed;
            counts.n_dropped += earlier.n_dropped;
        }
    }
}
