//! How many events were committed, by what they are: for scrapes, which must see a death that no reader has come to yet.

use std::sync::atomic::{AtomicU64, Ordering};

use sandscope_model::{Event, EventType, KillReason};

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct CommittedStats {
    by_type: [AtomicU64; EventType::ALL.len()],
    by_reason: [AtomicU64; KillReason::ALL.len()],
}

/// The counts at one moment. Every type and every reason is there, also those that never were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedCounts {
    /// Events by type.
    pub by_type: Vec<(EventType, u64)>,
    /// Deaths by reason.
    pub deaths: Vec<(KillReason, u64)>,
}

impl CommittedStats {
    pub(crate) fn count(&self, event: &Event) {
        let kind = event.event_type();
        add(&EventType::ALL, &self.by_type, kind);
        if let Some(reason) = event.kill_reason() {
            add(&KillReason::ALL, &self.by_reason, reason);
        }
    }

    pub(crate) fn counts(&self) -> CommittedCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CommittedCounts {
            by_type: EventType::ALL.into_iter().zip(self.by_type.iter().map(read)).collect(),
            deaths: KillReason::ALL.into_iter().zip(self.by_reason.iter().map(read)).collect(),
        }
    }
}

fn add<T: PartialEq + Copy>(all: &[T], counts: &[AtomicU64], which: T) {
    if let Some((_, count)) = all.iter().zip(counts).find(|(one, _)| **one == which) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}
