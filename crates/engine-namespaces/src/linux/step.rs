//! Steps of the engine's work: what an error says of them, and where they run.

use std::io;

use sandscope_cgroup::CgroupError;
use sandscope_engine::EngineError;

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
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(step(what)(io::Error::other(error))),
    }
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
