use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Characters kept of what a panic says.
const MAX_WORDS: usize = 300;

/// A panic that was caught: what it said, cut to 300 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic(String);

impl Panic {
    /// From what unwinding carries.
    pub fn of(payload: &(dyn Any + Send)) -> Self {
        let words = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("without words");
        Self(words.chars().take(MAX_WORDS).collect())
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl std::error::Error for Panic {}

/// Runs `work` to its end or to its panic, in place.
///
/// What `work` owns is dropped after a panic. What it shares with others must be fit to go on with, as it must be when
/// any task of a runtime panics.
///
/// # Errors
/// [`Panic`] if it panics, also while it is dropped.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    let mut work = Some(Box::pin(work));
    let outcome = poll_fn(|context| {
        let Some(running) = work.as_mut() else { return std::task::Poll::Pending };
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => std::task::Poll::Ready(Err(Panic::of(&*payload))),
        }
    })
    .await;
    match catch_unwind(AssertUnwindSafe(|| drop(work.take()))) {
        Ok(()) => outcome,
        Err(payload) => outcome.and_then(|_| Err(Panic::of(&*payload))),
    }
}
