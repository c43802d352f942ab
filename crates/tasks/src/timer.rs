use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// A future that completes after some time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Where supervisors and drains take the time from.
pub trait Timer: Send + Sync + 'static {
    /// The current time: a label, which may be set at any moment.
    fn now(&self) -> SystemTime;

    /// The time since some fixed moment: it only ever passes, and durations are taken from it.
    fn uptime(&self) -> Duration;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}
