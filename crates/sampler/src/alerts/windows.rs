//! What happened lately, counted by subject. Pure.

use std::collections::{HashMap, VecDeque};

use sandscope_model::{
    AlertBy, AlertMetric, AlertSubject, Event, EventData, EventDraft, EventType, KillReason, Timestamp,
};

/// Times kept of one subject: no threshold is higher.
const MAX_COUNT: usize = 10_000;
/// Subjects with something in the window.
const MAX_SUBJECTS: usize = 10_000;

/// Whether an event counts for a metric.
pub(super) fn counts(metric: AlertMetric, event: &Event) -> bool {
    let reason = event.data.kill_reason;
    match metric {
        AlertMetric::Crashes => reason.is_some_and(|reason| KillReason::CRASHES.contains(&reason)),
        AlertMetric::OutOfMemory => {
            event.event_type == EventType::OutOfMemory || reason == Some(KillReason::Oom)
        }
        _ => false,
    }
}

/// What counted within a rule's time, by subject.
#[derive(Debug)]
pub(super) struct Window {
    within_usec: i64,
    by: AlertBy,
    subjects: HashMap<AlertSubject, Times>,
}

#[derive(Debug)]
struct Times {
    /// In order.
    at_usec: VecDeque<i64>,
    newest: EventDraft,
}

impl Window {
    pub(super) fn new(within_s: u32, by: AlertBy) -> Self {
        Self { within_usec: i64::from(within_s) * 1_000_000, by, subjects: HashMap::new() }
    }

    /// Counts an event, and says to whom. `None`: it has no such label, or there are too many subjects to count for.
    pub(super) fn add(&mut self, event: &Event) -> Option<AlertSubject> {
        let subject = self.by.subject(event)?;
        if self.subjects.len() >= MAX_SUBJECTS && !self.subjects.contains_key(&subject) {
            self.expire(event.timestamp);
            if self.subjects.len() >= MAX_SUBJECTS {
                tracing::warn!(%subject, MAX_SUBJECTS, "too many subjects at once: this one is not counted");
                return None;
            }
        }
        let data =
            EventData { sandbox_metadata: event.data.sandbox_metadata.clone(), ..EventData::default() };
        let newest = EventDraft { data, ..without_data(event) };
        let times = self
            .subjects
            .entry(subject.clone())
            .or_insert_with(|| Times { at_usec: VecDeque::new(), newest: newest.clone() });
        let at = event.timestamp.as_microsecond();
        let place = times.at_usec.partition_point(|other| *other <= at);
        times.at_usec.insert(place, at);
        if times.at_usec.len() > MAX_COUNT {
            times.at_usec.pop_front();
        }
        times.newest = newest;
        Some(subject)
    }

    /// How much counts for `subject` at `now`.
    pub(super) fn count(&self, subject: &AlertSubject, now: Timestamp) -> usize {
        let after = now.as_microsecond().saturating_sub(self.within_usec);
        self.subjects
            .get(subject)
            .map_or(0, |times| times.at_usec.len() - times.at_usec.partition_point(|at| *at <= after))
    }

    /// The newest event that counted for `subject`.
    pub(super) fn newest(&self, subject: &AlertSubject) -> Option<&EventDraft> {
        self.subjects.get(subject).map(|times| &times.newest)
    }

    /// Everybody for whom something counts or did a while ago.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &AlertSubject> {
        self.subjects.keys()
    }

    /// Forgets what counts no more at `now`, nor at any time later.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let after = now.as_microsecond().saturating_sub(self.within_usec);
        self.subjects.retain(|_, times| {
            let n = times.at_usec.partition_point(|at| *at <= after);
            times.at_usec.drain(..n);
            !times.at_usec.is_empty()
        });
    }
}

fn without_data(event: &Event) -> EventDraft {
    let EventDraft {
        id,
        event_type,
        data: _,
        sandbox_id,
        execution_id,
        template_id,
        build_id,
        team_id,
        timestamp,
    } = &event.draft;
    EventDraft {
        id: *id,
        event_type: *event_type,
        data: EventData::default(),
        sandbox_id: sandbox_id.clone(),
        execution_id: *execution_id,
        template_id: template_id.clone(),
        build_id: *build_id,
        team_id: *team_id,
        timestamp: *timestamp,
    }
}
