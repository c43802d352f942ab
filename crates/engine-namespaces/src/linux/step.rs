//! Steps of the engine's work: what an error says of them, and where they run.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use sandscope_cgroup::CgroupError;
use sandscope_engine::EngineError;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Says which step failed.
pub(super) fn step(step: &'static str) -> impl Fn(io::Error) -> EngineError {
    move |source| EngineError::Step { step, source }
}

/// Says which step a control group failed in.
pub(super) fn cgroup_step(step: &'static str) -> impl Fn(CgroupError) -> EngineError {
    move |error| {
        let kind = error.io_kind().unwrap_or(io::ErrorKind::Other);
        EngineError::Step { step, source: io::Error::new(kind, error) }
    }
}

/// Runs what waits for the kernel where waiting hurts nobody.
///
/// Where the host refuses a thread the work is never done, although the runtime keeps it for its next thread: done late,
/// it would make what nobody holds any more.
///
/// # Errors
///
/// [`EngineError::NoCapacity`] if the host refuses a thread; what `work` returns.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let offered = Arc::new(Mutex::new(Some(work)));
    let take = |offered: &Mutex<Option<_>>| offered.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (taken, (answer, answered)) = (Arc::clone(&offered), oneshot::channel());
    let work = move || {
        if let Some(work) = take(&taken) {
            let _caller_gone = answer.send(work());
        }
    };
    // Another's thread may have taken it before it is withdrawn: then it is done after all.
    if spawn_blocking(work).is_none() && take(&offered).is_some() {
        return Err(EngineError::NoCapacity(format!("it refuses a thread to {what}")));
    }
    answered.await.unwrap_or_else(|_| Err(step(what)(io::Error::other("the work broke off"))))
}

/// Starts what waits for the kernel; `None` if the host refuses a thread and the work waits in the runtime until there
/// is one. Tokio reports that by a panic only.
pub(super) fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<JoinHandle<T>> {
    catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(work))).ok()
}

/// Runs to the end even if nobody waits for it any more.
pub(super) async fn in_task<T: Send + 'static>(
    what: &'static str,
    work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(step(what)(io::Error::other(error))),
    }
}
