//! How making sandboxes has been going.

use std::sync::atomic::{AtomicU64, Ordering};

use sandscope_lives::CreateCounts;

/// Counts since the server started.
#[derive(Debug, Default)]
pub(crate) struct CreateStats {
    n_created: AtomicU64,
    n_failed: AtomicU64,
    n_under_way: AtomicU64,
}

impl CreateStats {
    /// One was admitted.
    pub(crate) fn begin(&self) {
        self.n_under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// That one is made, or will not be.
    pub(crate) fn end(&self, is_made: bool) {
        self.n_under_way.fetch_sub(1, Ordering::Relaxed);
        let count = if is_made { &self.n_created } else { &self.n_failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts as of now.
    pub(crate) fn counts(&self) -> CreateCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CreateCounts {
            n_created: read(&self.n_created),
            n_failed: read(&self.n_failed),
            n_under_way: read(&self.n_under_way),
        }
    }
}
