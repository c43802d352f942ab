//! How many events there were, by what they are: counted by whoever commits them, for scrapes, which must see a death that
//! no reader of the log has come to yet.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Event, EventType, KillReason};

/// Counts events.
#[derive(Debug, Default)]
pub struct EventCounter {
    by_type: [AtomicU64; EventType::ALL.len()],
    by_reason: [AtomicU64; KillReason::ALL.len()],
}

/// The counts at one moment. Every type and every reason is there, also those that never were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCounts {
    /// Events by type.
    pub by_type: Vec<(EventType, u64)>,
    /// Deaths by reason.
    pub deaths: Vec<(KillReason, u64)>,
}

impl EventCounter {
    /// Counts one.
    pub fn count(&self, event: &Event) {
        let (kind, reason) = (event.event_type(), event.kill_reason());
        let of_type = EventType::ALL.iter().zip(&self.by_type).filter(|(one, _)| **one == kind);
        let of_reason = KillReason::ALL.iter().zip(&self.by_reason).filter(|(one, _)| Some(**one) == reason);
        for count in of_type.map(|(_, count)| count).chain(of_reason.map(|(_, count)| count)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts as of now.
    pub fn counts(&self) -> EventCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        EventCounts {
            by_type: EventType::ALL.into_iter().zip(self.by_type.iter().map(read)).collect(),
            deaths: KillReason::ALL.into_iter().zip(self.by_reason.iter().map(read)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Cause, Death, EventDraft, Fact, SandboxRef, Timestamp};

    #[test]
    fn a_death_of_any_cause_is_counted_by_its_reason() {
        let about = SandboxRef {
            id: "i0123456789abcdefghij".parse().unwrap(),
            execution_id: uuid::Uuid::nil().into(),
            template_id: "0123456789abcdefghij".parse().unwrap(),
            build_id: uuid::Uuid::nil().into(),
            metadata: BTreeMap::new(),
        };
        let team = uuid::Uuid::nil().into();
        let counter = EventCounter::default();
        for (n, cause) in (1..).zip(Cause::ALL) {
            let (id, at) = (uuid::Uuid::nil().into(), Timestamp::UNIX_EPOCH);
            let draft = EventDraft::example(EventType::Killed, (id, team), about.clone(), at);
            let death = Fact::Killed(Death::of(cause.reason()));
            counter.count(&Event { sequence: n, draft: EventDraft { fact: death, ..draft } });
            let deaths: u64 = counter.counts().deaths.iter().map(|(_, count)| count).sum();
            assert_eq!(deaths, n, "{cause:?}");
        }
    }
}
