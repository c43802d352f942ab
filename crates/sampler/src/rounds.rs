//! Which sandbox is read when. Knows neither clock nor kernel: time and readings come in as arguments.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sandscope_model::{Counters, Sample, SandboxId, Stamp, TeamId, Timestamp, Uptime};

use crate::{Subject, derive};

/// How long after the first reading of a sandbox the second follows, and the least that lies between two readings:
/// over shorter spans a percentage says little.
const SHORTEST_SPAN: Duration = Duration::from_secs(1);

/// A sandbox that has been read at least once since it last started or resumed.
#[derive(Debug)]
struct Tracked {
    subject: Subject,
    /// What the next sample is measured from.
    last: Counters,
    due: Uptime,
    /// What the next second is measured from.
    last_second: Counters,
    second_due: Uptime,
}

/// What one reading was good for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Taken {
    /// A sample, to be stored.
    pub(crate) sample: Option<Sample>,
    /// What happened since the last reading but one second, to be shown.
    pub(crate) second: Option<Sample>,
    /// Whose it is.
    pub(crate) team_id: Option<TeamId>,
}

/// The sandboxes that are being sampled.
#[derive(Debug)]
pub(crate) struct Rounds {
    interval: Duration,
    /// Whether there is a reading every second, whatever the interval.
    every_second: bool,
    tracked: HashMap<SandboxId, Tracked>,
}

/// What a round has to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// Never read since it last started or resumed; who it is has to be found out.
    pub(crate) new: Vec<SandboxId>,
    /// Read before, and now it is time again.
    pub(crate) due: Vec<Due>,
}

/// A sandbox to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) id: SandboxId,
    /// Whether the sample will be stored: then everything is read that samples hold.
    pub(crate) is_stored: bool,
}

impl Rounds {
    pub(crate) fn new(interval: Duration, every_second: bool) -> Self {
        Self { interval: interval.max(SHORTEST_SPAN), every_second, tracked: HashMap::new() }
    }

    /// What to read at `now`, given what runs. Whatever does not run is forgotten: when it is resumed it starts over,
    /// so that the time it stood still is in no sample.
    pub(crate) fn begin(&mut self, now: Uptime, running: Vec<SandboxId>) -> Round {
        let runs: HashSet<&SandboxId> = running.iter().collect();
        self.tracked.retain(|id, _| runs.contains(id));
        let mut round = Round { new: Vec::new(), due: Vec::new() };
        for id in running {
            match self.tracked.get(&id) {
                None => round.new.push(id),
                Some(tracked) if tracked.due <= now || (self.every_second && tracked.second_due <= now) => {
                    round.due.push(Due { id, is_stored: tracked.due <= now });
                }
                Some(_) => {}
            }
        }
        round
    }

    /// Takes a sandbox's first reading, which says nothing yet.
    pub(crate) fn start(&mut self, now: Uptime, subject: Subject, reading: Counters) {
        let tracked = Tracked {
            due: now.after(SHORTEST_SPAN),
            second_due: now.after(SHORTEST_SPAN),
            last_second: reading.clone(),
            last: reading,
            subject,
        };
        self.tracked.insert(tracked.subject.sandbox_id.clone(), tracked);
    }

    /// Takes a further reading and says what can be made of it.
    pub(crate) fn take(&mut self, now: Stamp, id: &SandboxId, reading: Counters) -> Taken {
        let due = self.next_due(now);
        let second_due = now.uptime_of(next_multiple(after(now.at, SHORTEST_SPAN / 2), SHORTEST_SPAN));
        let every_second = self.every_second;
        let Some(tracked) = self.tracked.get_mut(id) else { return Taken::default() };
        let mut taken = Taken { team_id: Some(tracked.subject.team_id), ..Taken::default() };
        if every_second {
            taken.second = derive(&tracked.last_second, &reading, &tracked.subject, now.at);
            tracked.second_due = second_due;
        }
        if tracked.due <= now.uptime {
            taken.sample = derive(&tracked.last, &reading, &tracked.subject, now.at);
            tracked.due = due;
            tracked.last = reading.clone();
        }
        tracked.last_second = reading;
        taken
    }

    /// Forgets a sandbox that could not be read.
    pub(crate) fn forget(&mut self, id: &SandboxId) {
        self.tracked.remove(id);
    }

    /// The next tick after `now`: ticks are the whole multiples of the interval since 1970, so that a bucket of that
    /// width holds one sample. Where the wall clock is set in between, the ticks after that one are its new ones.
    fn next_tick(&self, now: Stamp) -> Uptime {
        now.uptime_of(next_multiple(now.at, self.interval))
    }

    /// When to wake next.
    pub(crate) fn next_wake(&self, now: Stamp) -> Uptime {
        if self.every_second {
            now.uptime_of(next_multiple(now.at, SHORTEST_SPAN))
        } else {
            self.next_tick(now)
        }
    }

    fn next_due(&self, now: Stamp) -> Uptime {
        // Each bucket gets its sample: one that is too close to the tick is made later, not left out.
        self.next_tick(now).max(now.uptime.after(SHORTEST_SPAN))
    }
}

/// The first whole multiple of `span` since 1970 that comes after `at`.
fn next_multiple(at: Timestamp, span: Duration) -> Timestamp {
    let span_usec = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let next_usec = at.as_microsecond().div_euclid(span_usec).saturating_add(1).saturating_mul(span_usec);
    Timestamp::from_microsecond(next_usec).unwrap_or(Timestamp::MAX)
}

fn after(now: Timestamp, span: Duration) -> Timestamp {
    now.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
