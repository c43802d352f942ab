use std::fmt::Debug;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use crate::{BootId, Stamp, Timestamp, Uptime};

/// A future that completes at a point in time. See [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Where the time comes from. The binary passes the system's clocks; tests pass one they can step.
///
/// There are two times. The wall clock's ([`now`](Self::now)) is a label: what happened then is found by it. It may be
/// set at any moment, in either direction, so no period, timeout or duration is taken from it. These are taken from
/// the time since the host booted ([`uptime`](Self::uptime)), which nobody can set.
pub trait Clock: Debug + Send + Sync + 'static {
    /// What the wall clock shows, UTC. For implementors: callers ask [`now`](Self::now).
    fn wall(&self) -> Timestamp;

    /// How long ago the host booted.
    fn uptime(&self) -> Uptime;

    /// Which boot of the host [`uptime`](Self::uptime) counts from.
    fn boot(&self) -> BootId;

    /// Completes once [`uptime`](Self::uptime) is at or past `at`; at once if it already is.
    fn sleep_until(&self, at: Uptime) -> Sleep;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.uptime().after(duration))
    }

    /// The current time, UTC, in whole microseconds: the store keeps no more, and what is answered is what is stored.
    fn now(&self) -> Timestamp {
        whole_microseconds(self.wall())
    }

    /// Both times, read at one moment.
    fn stamp(&self) -> Stamp {
        let mut before = self.uptime();
        let mut stamp = Stamp { at: self.now(), boot: self.boot(), uptime: before };
        // A thread that is interrupted between the two would take its absence for a step of the wall clock.
        for _ in 0..READ_AGAIN {
            let after = self.uptime();
            if after.since(before) < READ_TOGETHER {
                break;
            }
            before = after;
            stamp = Stamp { at: self.now(), uptime: before, ..stamp };
        }
        stamp
    }
}

/// Two readings this close count as one.
const READ_TOGETHER: Duration = Duration::from_millis(1);
/// Attempts to read both times that close to each other, beyond the first.
const READ_AGAIN: usize = 3;
fn whole_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
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
        fn wall(&self) -> Timestamp {
            Timestamp::constant(1, 123_456_789)
        }

        fn uptime(&self) -> Uptime {
            Uptime::ZERO
        }

        fn boot(&self) -> BootId {
            BootId::from(uuid::Uuid::nil())
        }

        fn sleep_until(&self, _at: Uptime) -> Sleep {
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

    #[test]
    fn the_time_is_what_the_store_keeps() {
        assert_eq!(Fixed { is_over: true }.now(), Timestamp::constant(1, 123_456_000));
        assert_eq!(Fixed { is_over: true }.stamp().at, Timestamp::constant(1, 123_456_000));
    }
}
