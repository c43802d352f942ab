use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Panics when it is woken: whoever has news for it fails from within, as it hands them over.
struct PoisonWaker;

impl Wake for PoisonWaker {
    fn wake(self: Arc<Self>) {
        panic!("planned, at a waking");
    }
}

/// Lets `future` go on once. What it then waits for panics as it comes, if the future still waits by then and nobody
/// else has polled it.
pub fn wait_poisoned<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::new(PoisonWaker))))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;

    use tokio::sync::watch;

    use super::*;

    #[test]
    fn whoever_wakes_it_panics_and_what_was_to_be_heard_is_heard() {
        let (news, mut heard) = watch::channel(0);
        let mut change = pin!(heard.changed());
        assert!(wait_poisoned(change.as_mut()).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| news.send_replace(1))).is_err());
        assert!(wait_poisoned(change).is_ready());
    }
}
