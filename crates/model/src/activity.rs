//! How many sandboxes a team ran at once, and how often it started one: exact, from its log read backwards.
//!
//! How many run now is known; every event on the way back says what it changed. So nothing has to be counted while
//! it happens, and the past is there from its first minute.
//!
//! Long stretches of a log are summed up once ([`ActivityBlock`]). One that lies within a single step, or outside the
//! range, is taken as a whole, to the same end as its events one by one.

mod block;

pub use block::{ActivityBlock, ActivityChange};

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
    /// Where the steps already reported end, exclusive.
    end_ms: i64,
    n_running: i64,
    /// Before this time, up to the event before it, `n_running` ran.
    until_ms: i64,
    points: Vec<(u32, u32)>,
    peak: Option<(i64, i64)>,
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

    /// Whether an event at that time, and all before it, change nothing any more.
    pub fn is_over(&self, at_ms: i64) -> bool {
        at_ms.min(self.until_ms) < self.start_ms
    }

    /// Takes the block before what was taken last as a whole; `false` if its events have to be taken one by one.
    pub fn take_block(&mut self, block: &ActivityBlock) -> bool {
        let ActivityBlock { first_ms, last_ms, change, n_created, peak } = *block;
        // What is later in the log, but earlier in time, would move its events.
        if last_ms > self.until_ms {
            return false;
        }
        let is_outside = last_ms < self.start_ms || first_ms >= self.right_ms();
        let index = self.index(first_ms).filter(|first| self.index(last_ms) == Some(*first));
        if index.is_none() && !is_outside {
            return false;
        }
        self.fill(last_ms);
        if let Some(index) = index {
            self.points[index].1 = self.points[index].1.saturating_add(n_created);
            if let Some((beyond, since_ms)) = peak {
                self.reach(index, index, self.n_running.saturating_add(beyond), since_ms);
            }
        }
        self.n_running = self.n_running.saturating_sub(change);
        self.until_ms = first_ms;
        true
    }

    /// Takes the event before the one taken last: by how much it changed the number of running sandboxes, and
    /// whether one was created.
    pub fn take(&mut self, event: ActivityChange) {
        let ActivityChange { at_ms, change, is_creation } = event;
        // A clock that was set back does not turn the log around.
        let at_ms = at_ms.min(self.until_ms);
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
        (points.collect(), self.peak.map(|(ms, n)| (time(ms), count(n))))
    }

    fn index(&self, at_ms: i64) -> Option<usize> {
        let is_within = (self.start_ms..self.end_ms).contains(&at_ms);
        let index = usize::try_from((at_ms - self.start_ms) / self.step_ms).ok()?;
        (is_within && index < self.points.len()).then_some(index)
    }

    /// Where the steps end, exclusive.
    fn right_ms(&self) -> i64 {
        let n_steps = i64::try_from(self.points.len()).unwrap_or(0);
        self.end_ms.min(self.start_ms.saturating_add(n_steps.saturating_mul(self.step_ms)))
    }

    /// Notes how many ran from `from_ms` until what was taken last.
    fn fill(&mut self, from_ms: i64) {
        let from = from_ms.max(self.start_ms);
        let to = self.until_ms.min(self.right_ms());
        if from >= to {
            return;
        }
        let index = |ms: i64| usize::try_from((ms - self.start_ms) / self.step_ms).unwrap_or(0);
        self.reach(index(from), index(to - 1), self.n_running, from);
    }

    /// Notes that in the steps from `first` to `last` so many ran at once, since `since_ms`.
    fn reach(&mut self, first: usize, last: usize, n_running: i64, since_ms: i64) {
        for point in &mut self.points[first..=last] {
            point.0 = point.0.max(count(n_running));
        }
        // Of several times the earliest counts.
        if self.peak.is_none_or(|(_, most)| n_running >= most) {
            self.peak = Some((since_ms, n_running));
        }
    }
}

/// A number of sandboxes; a log that has lost its beginning may make it negative.
fn count(n: i64) -> u32 {
    u32::try_from(n.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn event(second: i64, change: i32) -> ActivityChange {
        ActivityChange { at_ms: at(second).as_millisecond(), change, is_creation: change > 0 }
    }

    #[test]
    fn every_step_is_there_from_the_first_and_carries_what_ran() {
        // Created at 3, another at 12, the first ended at 14; one runs now.
        let mut activity = Activity::new(at(0), at(29), 10, 1, 100);
        activity.take(event(14, -1));
        activity.take(event(12, 1));
        activity.take(event(3, 1));
        let (points, peak) = activity.finish();
        let found: Vec<_> = points.iter().map(|point| (point.max_concurrent, point.n_created)).collect();
        assert_eq!(found, [(1, 1), (2, 1), (1, 0)]);
        assert_eq!(points[1].at, at(10));
        assert_eq!(peak, Some((at(12), 2)));
    }

    #[test]
    fn nothing_is_said_of_what_is_outside() {
        let mut activity = Activity::new(at(10), at(19), 10, 0, 100);
        activity.take(event(25, -1));
        activity.take(event(21, 1));
        activity.take(event(5, -1));
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
                activity.take(event(*second, i32::try_from(*change).unwrap()));
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

        #[test]
        fn blocks_say_what_their_events_say(
            // Times that are not in order, too.
            changes in proptest::collection::vec((0_i64..120_000, -2_i32..3, any::<bool>()), 0..80),
            sorted in any::<bool>(),
            cuts in proptest::collection::vec(1_usize..12, 1..40),
            (start, length) in (0_i64..100, 0_i64..100),
            (step, running, max_points) in (1_u32..40, 0_u32..20, 1_usize..200),
        ) {
            let base = at(0).as_millisecond();
            let mut changes: Vec<ActivityChange> = changes
                .into_iter()
                .map(|(ms, change, is_creation)| ActivityChange { at_ms: base + ms, change, is_creation })
                .collect();
            if sorted {
                changes.sort_by_key(|change| change.at_ms);
            }
            let new = || Activity::new(at(start), at(start + length), step, running, max_points);
            let (mut one_by_one, mut by_blocks) = (new(), new());
            let mut is_over = false;
            for change in changes.iter().rev() {
                is_over = is_over || one_by_one.is_over(change.at_ms);
                if !is_over {
                    one_by_one.take(*change);
                }
            }
            let mut rest = changes.as_slice();
            for size in cuts.iter().cycle() {
                let Some((before, block)) = rest.split_at_checked(rest.len().saturating_sub(*size)) else { break };
                let Some(summed_up) = ActivityBlock::of(block) else { break };
                if !by_blocks.take_block(&summed_up) {
                    block.iter().rev().for_each(|change| by_blocks.take(*change));
                }
                rest = before;
            }
            prop_assert_eq!(by_blocks.finish(), one_by_one.finish());
        }
    }
}
