use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sandscope_model::{BootId, Clock, Sleep, Timestamp, Uptime};

use crate::StepClock;

/// A clock that panics when somebody is about to sleep for a given time: most tasks that never end sleep for a time of
/// their own, so this makes one of them fail from within. Clones share everything.
#[derive(Debug, Clone)]
pub struct PoisonClock {
    clock: StepClock,
    poisoned: Duration,
    n_left: Arc<AtomicU32>,
}

impl PoisonClock {
    /// Goes by `clock`; sleeps of `poisoned` panic once asked to.
    pub fn new(clock: StepClock, poisoned: Duration) -> Self {
        Self { clock, poisoned, n_left: Arc::default() }
    }

    /// The next `n` sleeps panic.
    pub fn poison(&self, n: u32) {
        self.n_left.store(n, Ordering::SeqCst);
    }

    /// Sleeps that are still to panic.
    pub fn n_left(&self) -> u32 {
        self.n_left.load(Ordering::SeqCst)
    }
}

impl Clock for PoisonClock {
    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    fn uptime(&self) -> Uptime {
        self.clock.uptime()
    }

    fn boot(&self) -> BootId {
        self.clock.boot()
    }

    fn sleep_until(&self, at: Uptime) -> Sleep {
        self.clock.sleep_until(at)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let take = |n: u32| n.checked_sub(1);
        let panics = duration == self.poisoned
            && self.n_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        assert!(!panics, "planned, at a sleep of {duration:?}");
        self.clock.sleep(duration)
    }
}
