//! How long something took, counted in buckets: written by many, read by a scrape, never locked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in milliseconds; one more counts everything.
const BOUNDS_MS: [u64; 9] = [5, 25, 100, 250, 500, 1_000, 2_500, 10_000, 60_000];

/// Durations since the process started.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many were no longer than a bound, and longer than the one before.
    within: [AtomicU64; BOUNDS_MS.len()],
    beyond: AtomicU64,
    sum_usec: AtomicU64,
}

/// What a histogram held at some moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// For each bound, in seconds, how many were no longer.
    pub up_to: Vec<(f64, u64)>,
    /// How many there were.
    pub n: u64,
    /// How long they took together, in seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// Counts one that took `took`.
    pub fn observe(&self, took: Duration) {
        let usec = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.iter().zip(&self.within).find(|(bound, _)| usec <= **bound * 1_000);
        bucket.map_or(&self.beyond, |(_, bucket)| bucket).fetch_add(1, Ordering::Relaxed);
        self.sum_usec.fetch_add(usec, Ordering::Relaxed);
    }

    /// What it holds now. The count is that of the buckets, so that both agree also while somebody writes.
    #[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^52")]
    pub fn buckets(&self) -> Buckets {
        let mut n = 0;
        let mut up_to = Vec::with_capacity(BOUNDS_MS.len());
        for (bound_ms, bucket) in BOUNDS_MS.iter().zip(&self.within) {
            n += bucket.load(Ordering::Relaxed);
            up_to.push((*bound_ms as f64 / 1e3, n));
        }
        n += self.beyond.load(Ordering::Relaxed);
        Buckets { up_to, n, sum_s: self.sum_usec.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_all_above() {
        let histogram = Histogram::default();
        for ms in [1, 5, 6, 700, 120_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let Buckets { up_to, n, sum_s } = histogram.buckets();
        assert_eq!(n, 5);
        assert_eq!(up_to[..2], [(0.005, 2), (0.025, 3)]);
        assert_eq!((up_to[5], up_to[8]), ((1.0, 4), (60.0, 4)));
        assert!((sum_s - 120.712).abs() < 1e-9);
    }
}
