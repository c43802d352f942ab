use std::sync::atomic::{AtomicUsize, Ordering};

/// One of a bounded number of places; given back when dropped.
pub(crate) struct Permit(&'static AtomicUsize);

impl Permit {
    /// `None` where `limit` are taken.
    pub(crate) fn take(of: &'static AtomicUsize, limit: usize) -> Option<Self> {
        let taken = of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1));
        taken.is_ok().then_some(Self(of))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
