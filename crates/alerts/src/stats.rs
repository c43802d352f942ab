//! What alerting says about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the server started.
#[derive(Debug, Default)]
pub struct AlertStats {
    n_evaluated: AtomicU64,
    n_published: AtomicU64,
    n_failed: AtomicU64,
    n_events: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertCounts {
    /// Numbers held against a rule.
    pub n_evaluated: u64,
    /// Alerts published: firing or resolved.
    pub n_published: u64,
    /// Looks that could not be finished.
    pub n_failed: u64,
    /// Events of the log looked at.
    pub n_events: u64,
}

impl AlertStats {
    /// The counts now.
    pub fn counts(&self) -> AlertCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AlertCounts {
            n_evaluated: read(&self.n_evaluated),
            n_published: read(&self.n_published),
            n_failed: read(&self.n_failed),
            n_events: read(&self.n_events),
        }
    }

    pub(crate) fn evaluated(&self, n: usize) {
        add(&self.n_evaluated, n);
    }

    pub(crate) fn published(&self, n: u32) {
        self.n_published.fetch_add(n.into(), Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        add(&self.n_failed, 1);
    }

    pub(crate) fn events(&self, n: usize) {
        add(&self.n_events, n);
    }
}

fn add(count: &AtomicU64, n: usize) {
    count.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
}
