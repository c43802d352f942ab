//! What the sampler says about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the server started.
#[derive(Debug, Default)]
pub struct SamplerStats {
    n_stored: AtomicU64,
    n_lost: AtomicU64,
    n_unreadable: AtomicU64,
    n_late: AtomicU64,
    n_live: AtomicU64,
    busy_usec: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SamplerCounts {
    /// Samples stored.
    pub n_stored: u64,
    /// Samples that could not be stored.
    pub n_lost: u64,
    /// Readings that failed.
    pub n_unreadable: u64,
    /// Rounds that began more than a second after their time.
    pub n_late: u64,
    /// Points made for the last minutes.
    pub n_live: u64,
    /// Time rounds took, in microseconds.
    pub busy_usec: u64,
}

impl SamplerStats {
    /// The counts now.
    pub fn counts(&self) -> SamplerCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SamplerCounts {
            n_stored: read(&self.n_stored),
            n_lost: read(&self.n_lost),
            n_unreadable: read(&self.n_unreadable),
            n_late: read(&self.n_late),
            n_live: read(&self.n_live),
            busy_usec: read(&self.busy_usec),
        }
    }

    pub(crate) fn stored(&self, n: usize, is_stored: bool) {
        add(if is_stored { &self.n_stored } else { &self.n_lost }, n);
    }

    pub(crate) fn unreadable(&self) {
        add(&self.n_unreadable, 1);
    }

    pub(crate) fn late(&self) {
        add(&self.n_late, 1);
    }

    pub(crate) fn round(&self, n_live: usize, took: std::time::Duration) {
        add(&self.n_live, n_live);
        self.busy_usec.fetch_add(u64::try_from(took.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }
}

fn add(count: &AtomicU64, n: usize) {
    count.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
}
