use std::time::Duration;

use sandscope_model::{Entropy, Retry, Timestamp, Webhook};

use crate::attempt::after;
use crate::gate::jittered;

/// Waits of the standard policy before it repeats the last one, in seconds.
const STANDARD_S: [u64; 8] = [5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000];
/// How long it goes on.
const STANDARD_TOTAL_S: u64 = 72 * 3600;
/// Retries of the original.
const E2B: [Duration; 3] = [Duration::from_secs(10); 3];

/// When a failed delivery is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How long after each failed attempt the next one follows; after as many retries as there are entries the
    /// delivery is exhausted.
    pub delays: Vec<Duration>,
    /// What one attempt may take, from the first DNS query to the last byte of the response's body.
    pub timeout: Duration,
    /// Whether waits are up to a tenth longer, drawn by chance.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    /// Three retries, ten seconds apart; ten seconds per attempt.
    fn default() -> Self {
        Self { delays: E2B.to_vec(), timeout: Duration::from_secs(10), jitter: false }
    }
}

impl RetryPolicy {
    /// The policy of `webhook`, where the server's is this one.
    pub(crate) fn of(&self, webhook: &Webhook) -> Self {
        let timeout = webhook.options.timeout_s.map_or(self.timeout, |s| Duration::from_secs(s.into()));
        let (delays, jitter) = match &webhook.options.retry {
            Retry::Server => (self.delays.clone(), self.jitter),
            Retry::E2b => (E2B.to_vec(), false),
            Retry::Standard => (standard(), true),
            Retry::Custom(delays) => {
                (delays.iter().map(|s| Duration::from_secs((*s).into())).collect(), true)
            }
        };
        Self { delays, timeout, jitter }
    }

    /// When the next attempt is due after the `n_attempts`-th failed at `now`, not before the receiver's `hold` is
    /// over; `None` once exhausted.
    pub(crate) fn next_due_at(
        &self,
        n_attempts: u32,
        hold: Option<Duration>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Option<Timestamp> {
        let failed = usize::try_from(n_attempts).ok()?.checked_sub(1)?;
        let delay = *self.delays.get(failed)?;
        let delay = if self.jitter { jittered(delay, entropy) } else { delay };
        Some(after(now, delay.max(hold.unwrap_or_default())))
    }
}

fn standard() -> Vec<Duration> {
    let last = STANDARD_S.last().copied().unwrap_or_default();
    let endless = STANDARD_S.into_iter().chain(std::iter::repeat(last));
    let within = endless.scan(0, |total, delay| {
        *total += delay;
        (*total <= STANDARD_TOTAL_S).then_some(Duration::from_secs(delay))
    });
    within.collect()
}

#[cfg(test)]
mod tests {
    use sandscope_testbed::SeededEntropy;

    use super::*;

    #[test]
    fn the_standard_policy_goes_on_for_three_days() {
        let delays = standard();
        assert_eq!(delays.len(), 13);
        let total: Duration = delays.iter().sum();
        assert!(total <= Duration::from_secs(STANDARD_TOTAL_S));
        assert!(total + Duration::from_secs(36_000) > Duration::from_secs(STANDARD_TOTAL_S));
    }

    #[test]
    fn a_wait_is_jittered_upwards_and_respects_the_receiver() {
        let entropy = SeededEntropy::new(3);
        let policy = RetryPolicy { delays: standard(), jitter: true, ..RetryPolicy::default() };
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..100 {
            let due = policy.next_due_at(3, None, now, &entropy).unwrap().as_millisecond();
            assert!((120_000..=132_000).contains(&due), "{due}");
        }
        let held = policy.next_due_at(1, Some(Duration::from_secs(60)), now, &entropy).unwrap();
        assert_eq!(held.as_second(), 60);
        assert_eq!(policy.next_due_at(14, None, now, &entropy), None);
    }
}
