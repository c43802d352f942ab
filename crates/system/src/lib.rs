//! The real clock and the real randomness: the only place of the product that asks the system for either on behalf
//! of the rules.

mod descriptors;
mod steps;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sandscope_model::{BootId, Clock, Entropy, Sleep, Uptime};
use sandscope_tasks::Timer;
use uuid::Uuid;

pub use descriptors::raise_descriptor_limit;
pub use steps::report_clock_steps;

/// Longest uninterrupted sleep: the runtime's timers stand still while the host is suspended, so a sleeper is late by at
/// most this after the host resumes.
const MAX_NAP: Duration = Duration::from_secs(10);

/// The host's clocks: its wall clock, UTC, and the time since it booted.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Uptime {
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
        Uptime::new(Duration::new(seconds, u32::try_from(read.tv_nsec).unwrap_or(0)))
    }

    fn boot(&self) -> BootId {
        *BOOT
    }

    fn sleep_until(&self, at: Uptime) -> Sleep {
        Box::pin(async move {
            loop {
                let left = at.since(Clock::uptime(&SystemClock));
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(MAX_NAP)).await;
            }
        })
    }
}

/// The boot this process runs in. Where the kernel does not say, one of this process alone: what earlier processes
/// kept then counts as of another boot.
static BOOT: LazyLock<BootId> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let known = Uuid::try_parse(text.trim()).ok();
    BootId::from(known.unwrap_or_else(|| uuid::Builder::from_random_bytes(OsEntropy.bytes()).into_uuid()))
});

impl Timer for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn uptime(&self) -> Duration {
        Clock::uptime(self).since(Uptime::ZERO)
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
        SystemClock.sleep_until(Uptime::ZERO).await;
        SystemClock.sleep_until(Clock::uptime(&SystemClock)).await;
    }

    #[tokio::test]
    async fn uptime_passes_with_time_and_every_reader_sees_one_boot() {
        let (before, wait) = (Clock::uptime(&SystemClock), Duration::from_millis(20));
        Clock::sleep(&SystemClock, wait).await;
        assert!(Clock::uptime(&SystemClock).since(before) >= wait);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(SystemClock.boot(), BootId::from(kernel.trim().parse::<Uuid>().unwrap()));
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(OsEntropy.bytes::<32>(), OsEntropy.bytes::<32>());
    }
}
