//! How soon a task that failed starts again. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// How soon a task that failed starts again, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure; it doubles with each further one.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Failures within [`within`](Self::within) after which it still starts again; one more is fatal.
    pub most: u32,
    /// How long a failure counts.
    pub within: Duration,
}

impl Default for Backoff {
    /// From 1 s to 60 s, ten times within ten minutes: what fails at once each time ends the server after five minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            most: 10,
            within: Duration::from_secs(600),
        }
    }
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another life after this wait.
    Again(Duration),
    /// None: this is the so-manyth failure within the backoff's time.
    TooOften(usize),
}

/// The failures of one task that still count.
#[derive(Debug)]
pub(crate) struct Failures {
    backoff: Backoff,
    /// In order; one more than the most at the longest.
    at: VecDeque<Duration>,
}

impl Failures {
    pub(crate) const fn new(backoff: Backoff) -> Self {
        Self { backoff, at: VecDeque::new() }
    }

    /// A failure at `now`, the time since some fixed moment.
    pub(crate) fn add(&mut self, now: Duration) -> Next {
        let Backoff { first, longest, most, within } = self.backoff;
        let age = |at: &Duration| now.saturating_sub(*at);
        while self.at.front().is_some_and(|at| age(at) >= within) {
            self.at.pop_front();
        }
        self.at.push_back(now);
        let n = self.at.len();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if n > most {
            self.at.pop_front();
            return Next::TooOften(n);
        }
        let doublings = u32::try_from(n - 1).unwrap_or(u32::MAX).min(31);
        Next::Again(first.saturating_mul(1 << doublings).min(longest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_quiet_time() {
        let mut failures = Failures::new(Backoff { most: 4, ..Backoff::default() });
        let waits: Vec<Next> = (0..5).map(|s| failures.add(at(s * 1_000))).collect();
        let again = |s| Next::Again(Duration::from_secs(s));
        assert_eq!(waits, [again(1), again(2), again(4), again(8), Next::TooOften(5)]);
        assert_eq!(failures.add(at(4_000 + 600_000)), again(1));
    }

    proptest! {
        #[test]
        fn a_task_starts_again_no_more_often_than_it_may(
            gaps in proptest::collection::vec(0_u64..90_000, 0..80),
            most in 1_u32..8,
            first_ms in 1_u64..5_000,
        ) {
            let backoff = Backoff {
                first: Duration::from_millis(first_ms),
                longest: Duration::from_secs(10),
                most,
                within: Duration::from_secs(60),
            };
            let mut failures = Failures::new(backoff);
            let (mut now, mut all, mut last) = (0, Vec::new(), None);
            for gap in gaps {
                now += gap;
                all.push(now);
                let counting = all.iter().filter(|then| now - *then < 60_000).count();
                match failures.add(at(now)) {
                    Next::Again(wait) => {
                        prop_assert!(counting <= most as usize);
                        prop_assert!(wait <= backoff.longest && wait >= backoff.first.min(backoff.longest));
                        if let Some(last) = last {
                            // Where none was forgotten meanwhile it only grows.
                            let forgotten = all.len() > counting;
                            prop_assert!(forgotten || wait >= last);
                        }
                        last = Some(wait);
                    }
                    Next::TooOften(_) => prop_assert!(counting > most as usize),
                }
                prop_assert!(failures.at.len() <= most as usize);
            }
        }
    }
}
