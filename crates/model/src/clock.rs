use std::fmt::Debug;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
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

/// Not done in time. See [`within`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not done in time")]
pub struct TooLate;

/// What `future` completes with, if that takes no longer than `limit` of `clock`'s time. A future that is complete
/// when the limit has passed counts as in time.
///
/// # Errors
/// [`TooLate`] once the limit has passed; the future is dropped then.
pub async fn within<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Result<F::Output, TooLate> {
    let mut limit = clock.sleep(limit);
    let mut future = pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => limit.as_mut().poll(context).map(|()| Err(TooLate)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::{Context, Waker};

    use super::*;

    /// A clock on which every sleep is over, or none.
    #[derive(Debug)]
    struct Fixed {
        is_over: bool,
    }

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn sleep_until(&self, _at: Timestamp) -> Sleep {
            if self.is_over { Box::pin(ready(())) } else { Box::pin(pending()) }
        }
    }

    fn poll<T>(is_over: bool, future: impl Future<Output = T>) -> Poll<Result<T, TooLate>> {
        let clock = Fixed { is_over };
        let within = pin!(within(&clock, Duration::from_secs(1), future));
        within.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_is_done_is_in_time_and_what_is_not_is_too_late_once_the_limit_has_passed() {
        assert_eq!(poll(false, ready(1)), Poll::Ready(Ok(1)));
        assert_eq!(poll(true, ready(1)), Poll::Ready(Ok(1)));
        assert_eq!(poll(true, pending::<()>()), Poll::Ready(Err(TooLate)));
        assert_eq!(poll(false, pending::<()>()), Poll::Pending);
    }
}
