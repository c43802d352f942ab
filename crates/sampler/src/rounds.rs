//! Which sandbox is read when. Knows neither clock nor kernel: time and readings come in as arguments.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sandscope_model::{Counters, Sample, SandboxId, Timestamp};

use crate::{Subject, derive};

/// How long after the first reading of a sandbox the second follows, and the least that lies between two readings:
/// over shorter spans a percentage says little.
const SHORTEST_SPAN: Duration = Duration::from_secs(1);

/// A sandbox that has been read at least once since it last started or resumed.
#[derive(Debug)]
struct Tracked {
    subject: Subject,
    last: Counters,
    due: Timestamp,
}

/// The sandboxes that are being sampled.
#[derive(Debug)]
pub(crate) struct Rounds {
    interval: Duration,
    tracked: HashMap<SandboxId, Tracked>,
}

/// What a round has to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// Never read since it last started or resumed; who it is has to be found out.
    pub(crate) new: Vec<SandboxId>,
    /// Read before, and now it is time again.
    pub(crate) due: Vec<SandboxId>,
}

impl Rounds {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval: interval.max(SHORTEST_SPAN), tracked: HashMap::new() }
    }

    /// What to read at `now`, given what runs. Whatever does not run is forgotten: when it is resumed it starts over,
    /// so that the time it stood still is in no sample.
    pub(crate) fn begin(&mut self, now: Timestamp, running: Vec<SandboxId>) -> Round {
        let runs: HashSet<&SandboxId> = running.iter().collect();
        self.tracked.retain(|id, _| runs.contains(id));
        let mut round = Round { new: Vec::new(), due: Vec::new() };
        for id in running {
            match self.tracked.get(&id) {
                None => round.new.push(id),
                Some(tracked) if tracked.due <= now => round.due.push(id),
                Some(_) => {}
            }
        }
        round
    }

    /// Takes a sandbox's first reading, which says nothing yet.
    pub(crate) fn start(&mut self, now: Timestamp, subject: Subject, reading: Counters) {
        let tracked = Tracked { due: after(now, SHORTEST_SPAN), last: reading, subject };
        self.tracked.insert(tracked.subject.sandbox_id.clone(), tracked);
    }

    /// Takes a further reading. `None` if no sample can be made of it.
    pub(crate) fn take(&mut self, now: Timestamp, id: &SandboxId, reading: Counters) -> Option<Sample> {
        let due = self.next_due(now);
        let tracked = self.tracked.get_mut(id)?;
        let sample = derive(&tracked.last, &reading, &tracked.subject, now);
        tracked.last = reading;
        tracked.due = due;
        sample
    }

    /// Forgets a sandbox that could not be read.
    pub(crate) fn forget(&mut self, id: &SandboxId) {
        self.tracked.remove(id);
    }

    /// The next tick after `now`: ticks are the whole multiples of the interval since 1970, so that a bucket of that
    /// width holds one sample.
    pub(crate) fn next_tick(&self, now: Timestamp) -> Timestamp {
        let interval_usec = i64::try_from(self.interval.as_micros()).unwrap_or(i64::MAX);
        let now_usec = now.as_microsecond();
        let tick_usec = now_usec.div_euclid(interval_usec).saturating_add(1).saturating_mul(interval_usec);
        Timestamp::from_microsecond(tick_usec).unwrap_or(Timestamp::MAX)
    }

    fn next_due(&self, now: Timestamp) -> Timestamp {
        let tick = self.next_tick(now);
        if tick >= after(now, SHORTEST_SPAN) { tick } else { after(tick, self.interval) }
    }
}

fn after(now: Timestamp, span: Duration) -> Timestamp {
    now.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
