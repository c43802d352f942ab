//! What the writers say about themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of one file's writer since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct WriteStats {
    n_commits: AtomicU64,
    n_failed: AtomicU64,
    n_operations: AtomicU64,
    commit_usec: AtomicU64,
    slowest_usec: AtomicU64,
}

/// The counts of one file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteCounts {
    /// Its name, without its ending.
    pub file: &'static str,
    /// Transactions committed.
    pub n_commits: u64,
    /// Transactions that could not be begun or committed.
    pub n_failed: u64,
    /// Operations committed.
    pub n_operations: u64,
    /// Time commits took all together, most of it until they were on disk.
    pub commit_time: Duration,
    /// The longest a commit has taken.
    pub slowest: Duration,
    /// Operations that wait.
    pub n_queued: usize,
}

impl WriteStats {
    pub(crate) fn committed(&self, n_operations: usize, took: Duration) {
        let usec = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.n_commits.fetch_add(1, Ordering::Relaxed);
        self.n_operations.fetch_add(u64::try_from(n_operations).unwrap_or(0), Ordering::Relaxed);
        self.commit_usec.fetch_add(usec, Ordering::Relaxed);
        self.slowest_usec.fetch_max(usec, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.n_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self, file: &'static str, n_queued: usize) -> WriteCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WriteCounts {
            file,
            n_commits: read(&self.n_commits),
            n_failed: read(&self.n_failed),
            n_operations: read(&self.n_operations),
            commit_time: Duration::from_micros(read(&self.commit_usec)),
            slowest: Duration::from_micros(read(&self.slowest_usec)),
            n_queued,
        }
    }
}
