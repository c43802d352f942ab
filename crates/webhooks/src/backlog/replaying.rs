//! What replays select: deliveries that are due at once, and in no order with what comes for the first time.

use std::collections::BTreeSet;
use std::sync::Arc;

use sandscope_model::{Event, Timestamp};

use super::recording::Unrecorded;
use super::{Backlog, Pending};

impl Backlog {
    /// Deliveries of replays that have not been made.
    pub(crate) fn n_replayed(&self) -> usize {
        self.pending.values().filter(|pending| pending.replay.is_some()).count()
    }

    /// The replays whose deliveries are among what is pending.
    pub(crate) fn replays(&self) -> BTreeSet<i64> {
        self.pending.values().filter_map(|pending| pending.replay).collect()
    }

    /// Takes up a replay's selection: `events`, each with whether it was exhausted before; everything before
    /// `next` has been looked at. What has not been read from the log yet, or is under way, comes by itself.
    pub(crate) fn replay(&mut self, no: i64, events: Vec<(Arc<Event>, bool)>, next: u64, now: Timestamp) {
        let mut n_selected = 0;
        for (event, was_exhausted) in events {
            let sequence = event.sequence;
            let under_way = self.open.contains_key(&sequence)
                || self.pending.get(&sequence).is_some_and(|pending| pending.in_flight);
            if sequence > self.fetched || under_way {
                continue;
            }
            // Of another replay: it is that one's.
            if self.pending.get(&sequence).is_some_and(|pending| pending.replay.is_some()) {
                continue;
            }
            self.take_pending(sequence);
            n_selected += 1;
            let change =
                Unrecorded::Set { n_attempts: 0, next_due_at: Some(now), replay: Some(no), was_exhausted };
            self.unrecorded.insert(sequence, change);
            let pending = Pending {
                n_attempts: 0,
                due_at: now,
                in_flight: false,
                subject: Some(event.subject.key()),
                event: Some(event),
                replay: Some(no),
                was_exhausted,
            };
            self.put_pending(sequence, pending);
        }
        let counts = self.replays.entry(no).or_default();
        counts.n_selected += n_selected;
        counts.next = Some(next);
    }

    /// Takes back what a canceled replay selected and nobody has started. What was exhausted before is exhausted again.
    pub(crate) fn cancel_replay(&mut self, no: i64) {
        let mine =
            self.pending.iter().filter(|(_, pending)| pending.replay == Some(no) && !pending.in_flight);
        let sequences: Vec<u64> = mine.map(|(sequence, _)| *sequence).collect();
        for sequence in sequences {
            let Some(pending) = self.take_pending(sequence) else { continue };
            let change = if pending.was_exhausted {
                let n_attempts = pending.n_attempts;
                Unrecorded::Set { n_attempts, next_due_at: None, replay: None, was_exhausted: false }
            } else {
                Unrecorded::Clear
            };
            self.unrecorded.insert(sequence, change);
            self.replays.entry(no).or_default().n_dropped += 1;
        }
    }
}
