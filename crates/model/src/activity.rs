//! How many sandboxes a team ran at once, and how often it started one: exact, from its log read backwards.
//!
//! How many run now is known; every event on the way back says what it changed. So nothing has to be counted while
//! it happens, and the past is there from its first minute.

use crate::Timestamp;

/// What happened in one step of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityPoint {
    /// When the step begins.
    pub at: Timestamp,
    /// The most sandboxes that ran at once in it.
    pub max_concurrent: u32,
    /// Sandboxes created in it.
    pub n_created: u32,
}

/// Walks a team's log from its end to the beginning of a range.
#[derive(Debug)]
pub struct Activity {
    start_ms: i64,
    step_ms: i64,
    /// Where the steps already told of end, exclusive.
    end_ms: i64,
    n_running: i64,
    /// Before this time, up to the event before it, `n_running` ran.
    until_ms: i64,
    points: Vec<(u32, u32)>,
    peak: Option<(i64, u32)>,
}

impl Activity {
    /// Steps of `step_s` seconds from `start` to `end`, given how many run when the log ends. `end` is not in the
    /// future; `max_points` bounds the number of steps, the first ones are kept.
    pub fn new(start: Timestamp, end: Timestamp, step_s: u32, n_running_now: u32, max_points: usize) -> Self {
        let step_ms = i64::from(step_s.max(1)) * 1_000;
        let start_ms = start.as_millisecond() - start.as_millisecond().rem_euclid(step_ms);
        let end_ms = end.as_millisecond().saturating_add(1).max(start_ms);
        let n_steps = (end_ms - start_ms + step_ms - 1) / step_ms;
        let n_steps = usize::try_from(n_steps).unwrap_or(0).min(max_points);
        Self {
            start_ms,
            step_ms,
            end_ms,
            n_running: i64::from(n_running_now),
            until_ms: i64::MAX,
            points: vec![(0, 0); n_steps],
            peak: None,
        }
    }

    /// Whether events at that time, and all before it, change nothing any more.
    pub fn is_before_start(&self, at: Timestamp) -> bool {
        at.as_millisecond() < self.start_ms
    }

    /// Takes the event before the one taken last: by how much it changed the number of running sandboxes, and
    /// whether one was created.
    pub fn take(&mut self, at: Timestamp, change: i32, is_creation: bool) {
        // A clock that was set back does not turn the log around.
        let at_ms = at.as_millisecond().min(self.until_ms);
        self.fill(at_ms);
        if is_creation && let Some(index) = self.index(at_ms) {
            self.points[index].1 = self.points[index].1.saturating_add(1);
        }
        self.n_running = self.n_running.saturating_sub(i64::from(change));
        self.until_ms = at_ms;
    }

    /// Every step, oldest first, and when the most sandboxes ran at once.
    pub fn finish(mut self) -> (Vec<ActivityPoint>, Option<(Timestamp, u32)>) {
        self.fill(i64::MIN);
        let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let points = (0_i64..).zip(&self.points).map(|(index, (max_concurrent, n_created))| ActivityPoint {
            at: time(self.start_ms + index * self.step_ms),
            max_concurrent: *max_concurrent,
            n_created: *n_created,
        });
        (points.collect(), self.peak.map(|(ms, n)| (time(ms), n)))
    }

    fn index(&self, at_ms: i64) -> Option<usize> {
        let is_within = (self.start_ms..self.end_ms).contains(&at_ms);
        let index = usize::try_from((at_ms - self.start_ms) / self.step_ms).ok()?;
        (is_within && index < self.points.len()).then_some(index)
    }

    /// Notes how many ran from `from_ms` until what was taken last.
    fn fill(&mut self, from_ms: i64) {
        let from = from_ms.max(self.start_ms);
        let to = self.until_ms.min(self.end_ms).min(
            self.start_ms
                .saturating_add(i64::try_from(self.points.len()).unwrap_or(0).saturating_mul(self.step_ms)),
        );
        if from >= to {
            return;
        }
        let n = u32::try_from(self.n_running.max(0)).unwrap_or(u32::MAX);
        let index = |ms: i64| usize::try_from((ms - self.start_ms) / self.step_ms).unwrap_or(0);
        for point in &mut self.points[index(from)..=index(to - 1)] {
            point.0 = point.0.max(n);
        }
        // Of several times the earliest counts.
        if self.peak.is_none_or(|(_, most)| n >= most) {
            self.peak = Some((from, n));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn every_step_is_there_from_the_first_and_carries_what_ran() {
        // Created at 3, another at 12, the first ended at 14; one runs now.
        let mut activity = Activity::new(at(0), at(29), 10, 1, 100);
        activity.take(at(14), -1, false);
        activity.take(at(12), 1, true);
        activity.take(at(3), 1, true);
        let (points, peak) = activity.finish();
        let told: Vec<_> = points.iter().map(|point| (point.max_concurrent, point.n_created)).collect();
        assert_eq!(told, [(1, 1), (2, 1), (1, 0)]);
        assert_eq!(points[1].at, at(10));
        assert_eq!(peak, Some((at(12), 2)));
    }

    #[test]
    fn nothing_is_said_of_what_is_outside() {
        let mut activity = Activity::new(at(10), at(19), 10, 0, 100);
        activity.take(at(25), -1, false);
        activity.take(at(21), 1, true);
        activity.take(at(5), -1, false);
        let (points, peak) = activity.finish();
        assert_eq!((points[0].max_concurrent, points[0].n_created, points.len()), (0, 0, 1));
        assert_eq!(peak, Some((at(10), 0)));
        assert_eq!(Activity::new(at(9), at(5), 10, 0, 100).finish().0.len(), 1, "a step of its own at least");
        assert_eq!(Activity::new(at(0), at(1_000), 1, 0, 7).finish().0.len(), 7);
    }

    proptest! {
        #[test]
        fn it_is_what_counting_along_would_have_said(
            changes in proptest::collection::vec((0_i64..100, any::<bool>()), 0..60),
            step in 1_u32..30,
        ) {
            let mut changes = changes;
            changes.sort_unstable_by_key(|(second, _)| *second);
            // Nobody ends what does not run.
            let (mut n, mut log) = (0_i64, Vec::new());
            for (second, up) in changes {
                let change = if up || n == 0 { 1 } else { -1 };
                n += change;
                log.push((second, change, n));
            }
            let mut activity = Activity::new(at(0), at(99), step, u32::try_from(n).unwrap(), 1_000);
            for (second, change, _) in log.iter().rev() {
                activity.take(at(*second), i32::try_from(*change).unwrap(), *change > 0);
            }
            let (points, peak) = activity.finish();
            let step_s = i64::from(step);
            for point in &points {
                let from = point.at.as_second() - 1_700_000_000;
                let (from, to) = (from, from + step_s);
                // A level counts if it lasted: until the next event of another second.
                let lasting = |wanted: i64| {
                    log.iter().rev().find(|(second, ..)| *second <= wanted).map_or(0, |(_, _, level)| *level)
                };
                let naive = (from..to.min(100)).map(lasting).max().unwrap_or(0);
                let created = log.iter().filter(|(s, change, _)| (from..to).contains(s) && *change > 0).count();
                prop_assert_eq!(i64::from(point.max_concurrent), naive);
                prop_assert_eq!(usize::try_from(point.n_created).unwrap(), created);
            }
            let most = points.iter().map(|point| point.max_concurrent).max().unwrap_or(0);
            prop_assert_eq!(peak.map(|(_, n)| n), Some(most));
        }
    }
}
