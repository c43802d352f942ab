use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::Timestamp;

/// A future that completes at a point in time. See [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Where the time comes from. The binary passes the system's clock; tests pass one they can step.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current time, UTC.
    fn now(&self) -> Timestamp;

    /// Completes once [`now`](Self::now) is at or past `at`; at once if it already is.
    fn sleep_until(&self, at: Timestamp) -> Sleep;

    /// Completes after `duration` of this clock's time.
    fn sleep(&self, duration: Duration) -> Sleep {
        let at = self.now().checked_add(duration).unwrap_or(Timestamp::MAX);
        self.sleep_until(at)
    }
}
