//! How fast logs are fetched.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sandscope_model::Uptime;

/// Lines of one sandbox per second, on the long run.
pub const LINES_PER_SECOND: u32 = 1000;

/// Text of one sandbox per second, in bytes, on the long run.
pub const BYTES_PER_SECOND: u32 = 128 * 1024;

/// Lines of all sandboxes per second, on the long run.
pub const TOTAL_LINES_PER_SECOND: u32 = 10_000;

/// The shortest pause between two answers of one agent: lines that come one by one share a transaction.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Hands out pauses such that all followers together keep to the total.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Until when the lines fetched so far are worth.
    paid_until: Mutex<Option<Uptime>>,
}

impl Pace {
    /// How long to wait at `now` after an answer with so much in it.
    pub(crate) fn pause(&self, now: Uptime, n_lines: usize, n_bytes: usize) -> Duration {
        let (n_lines, n_bytes) = (clamped(n_lines), clamped(n_bytes));
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = paid_until.map_or(now, |until| until.max(now));
        let worth = Duration::from_secs(1) * n_lines / TOTAL_LINES_PER_SECOND;
        *paid_until = Some(begins.after(worth));
        let queue = begins.since(now);
        let lines = Duration::from_secs(1) * n_lines / LINES_PER_SECOND;
        let bytes = Duration::from_secs(1) * n_bytes / BYTES_PER_SECOND;
        SHORTEST_PAUSE.max(lines).max(bytes).max(queue)
    }
}

fn clamped(n: usize) -> u32 {
    // Far more than an answer can hold, and small enough to be multiplied with a second.
    u32::try_from(n).unwrap_or(u32::MAX).min(1 << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flood_waits_for_itself_and_many_for_each_other() {
        let (pace, now) = (Pace::default(), Uptime::ZERO);
        assert_eq!(pace.pause(now, 1, 10), SHORTEST_PAUSE);
        assert_eq!(pace.pause(now, 1000, 10), Duration::from_secs(1));
        assert_eq!(pace.pause(now, 1, 256 * 1024), Duration::from_secs(2));
        let pauses: Vec<Duration> = (0..100).map(|_| pace.pause(now, 1000, 0)).collect();
        assert_eq!(pauses[0], Duration::from_secs(1));
        assert!(pauses[99] > Duration::from_secs(9), "{:?}", pauses[99]);
        assert_eq!(pace.pause(now.after(Duration::from_secs(60)), 1, 10), SHORTEST_PAUSE);
    }
}
