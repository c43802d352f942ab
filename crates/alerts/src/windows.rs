//! What happened lately, counted by subject. Pure.

use std::collections::{HashMap, VecDeque};

use sandscope_model::{
    AlertBy, AlertMetric, Event, Fact, KillReason, SandboxRef, Subject, SubjectKey, Timestamp,
};

/// Times kept of one subject: no threshold is higher.
const MAX_COUNT: usize = 10_000;
/// Subjects with something in the window.
const MAX_SUBJECTS: usize = 10_000;

/// Whether an event counts for a metric.
pub(crate) fn counts(metric: AlertMetric, event: &Event) -> bool {
    match (metric, &event.fact) {
        (AlertMetric::Crashes, Fact::Killed(death)) => KillReason::CRASHES.contains(&death.reason),
        (AlertMetric::OutOfMemory, Fact::Killed(death)) => death.reason == KillReason::Oom,
        (AlertMetric::OutOfMemory, Fact::OutOfMemory(_)) => true,
        _ => false,
    }
}

/// What counted within a rule's time, by subject.
#[derive(Debug)]
pub(crate) struct Window {
    within_usec: i64,
    by: AlertBy,
    subjects: HashMap<SubjectKey, Times>,
}

#[derive(Debug)]
struct Times {
    /// In order.
    at_usec: VecDeque<i64>,
    newest: Counted,
}

/// What an event counted for, and the sandbox it was about.
pub(crate) type Counted = (Subject, Option<SandboxRef>);

impl Window {
    pub(crate) fn new(within_s: u32, by: AlertBy) -> Self {
        Self { within_usec: i64::from(within_s) * 1_000_000, by, subjects: HashMap::new() }
    }

    /// Counts an event that happened at `at`, and says to whom. `None`: it has no such label, or there are too many
    /// subjects to count for.
    pub(crate) fn add(&mut self, event: &Event, at: Timestamp) -> Option<SubjectKey> {
        let found = self.by.subject(event)?;
        let subject = found.key();
        if self.subjects.len() >= MAX_SUBJECTS && !self.subjects.contains_key(&subject) {
            self.expire(at);
            if self.subjects.len() >= MAX_SUBJECTS {
                tracing::warn!(%subject, MAX_SUBJECTS, "too many subjects at once: this one is not counted");
                return None;
            }
        }
        let newest = (found, event.sandbox().cloned());
        let times = self
            .subjects
            .entry(subject.clone())
            .or_insert_with(|| Times { at_usec: VecDeque::new(), newest: newest.clone() });
        let at = at.as_microsecond();
        let place = times.at_usec.partition_point(|other| *other <= at);
        times.at_usec.insert(place, at);
        if times.at_usec.len() > MAX_COUNT {
            times.at_usec.pop_front();
        }
        times.newest = newest;
        Some(subject)
    }

    /// How much counts for `subject` at `now`.
    pub(crate) fn count(&self, subject: &SubjectKey, now: Timestamp) -> usize {
        let after = now.as_microsecond().saturating_sub(self.within_usec);
        self.subjects
            .get(subject)
            .map_or(0, |times| times.at_usec.len() - times.at_usec.partition_point(|at| *at <= after))
    }

    /// What the newest event counted for that counted for `subject`.
    pub(crate) fn newest(&self, subject: &SubjectKey) -> Option<&Counted> {
        self.subjects.get(subject).map(|times| &times.newest)
    }

    /// Everybody for whom something counts or did a while ago.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &SubjectKey> {
        self.subjects.keys()
    }

    /// Forgets what counts no more at `now`, nor at any time later.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let after = now.as_microsecond().saturating_sub(self.within_usec);
        self.subjects.retain(|_, times| {
            let n = times.at_usec.partition_point(|at| *at <= after);
            times.at_usec.drain(..n);
            !times.at_usec.is_empty()
        });
    }
}
