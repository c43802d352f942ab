//! The real clock and the real randomness: the only place of the product that asks the system for either on behalf
//! of the rules.

mod descriptors;

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sandscope_model::{Clock, Entropy, Sleep};
use sandscope_tasks::Timer;

pub use descriptors::raise_descriptor_limit;

/// Longest uninterrupted sleep: after a jump of the wall clock a sleeper is late by at most this.
const MAX_NAP: Duration = Duration::from_secs(30);

/// The system's wall clock, UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        Box::pin(async move {
            loop {
                let left = at.duration_since(Timestamp::now());
                let Ok(left) = Duration::try_from(left) else { return };
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(MAX_NAP)).await;
            }
        })
    }
}

impl Timer for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> sandscope_tasks::Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The kernel's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            // Ids and tokens drawn from anything weaker would be a hole; nothing sensible can go on.
            tracing::error!(%error, "the kernel gives no random bytes");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_in_the_past_is_not_waited_for() {
        SystemClock.sleep_until(Timestamp::UNIX_EPOCH).await;
        SystemClock.sleep_until(Clock::now(&SystemClock)).await;
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(OsEntropy.bytes::<32>(), OsEntropy.bytes::<32>());
    }
}
