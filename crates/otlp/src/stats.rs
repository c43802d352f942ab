use std::sync::atomic::{AtomicU64, Ordering};

use sandscope_model::Signal;

/// What the export says about itself, for each kind.
#[derive(Debug, Default)]
pub struct OtlpStats {
    signals: [Counts; 3],
}

#[derive(Debug, Default)]
struct Counts {
    n_sent: AtomicU64,
    n_failed: AtomicU64,
    n_rejected: AtomicU64,
    n_dropped: AtomicU64,
    n_waiting: AtomicU64,
}

/// The counts of one kind at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OtlpCounts {
    /// Points or records the collector has taken.
    pub n_sent: u64,
    /// Requests that failed; most are tried again.
    pub n_failed: u64,
    /// Points or records the collector will not have.
    pub n_rejected: u64,
    /// Points or records that were gone before they could be sent.
    pub n_dropped: u64,
    /// How far behind it is: events or log entries still to be sent, or requests with metrics.
    pub n_waiting: u64,
}

impl OtlpStats {
    /// The counts of `signal` now.
    pub fn counts(&self, signal: Signal) -> OtlpCounts {
        let counts = self.of(signal);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        OtlpCounts {
            n_sent: read(&counts.n_sent),
            n_failed: read(&counts.n_failed),
            n_rejected: read(&counts.n_rejected),
            n_dropped: read(&counts.n_dropped),
            n_waiting: read(&counts.n_waiting),
        }
    }

    const fn of(&self, signal: Signal) -> &Counts {
        let [metrics, logs, events] = &self.signals;
        match signal {
            Signal::Metrics => metrics,
            Signal::Logs => logs,
            Signal::Events => events,
        }
    }

    pub(crate) fn sent(&self, signal: Signal, n: u64) {
        self.of(signal).n_sent.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, signal: Signal) {
        self.of(signal).n_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self, signal: Signal, n: u64) {
        self.of(signal).n_rejected.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, signal: Signal, n: u64) {
        self.of(signal).n_dropped.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn waiting(&self, signal: Signal, n: u64) {
        self.of(signal).n_waiting.store(n, Ordering::Relaxed);
    }
}
