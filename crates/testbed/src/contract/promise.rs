//! What is asked again and again, and how a promise that is not kept is put into words.

use std::time::Duration;

use sandscope_engine::{Depth, EngineError, Notice, ReadError, Reading, Readings, Wanted};
use sandscope_model::SandboxId;
use tokio::sync::mpsc;

use super::subject::Subject;

/// How often something is looked for that comes in its own time.
pub(super) const LOOKS: u32 = 200;
/// How long a notice may take.
pub(super) const NOTICE_LIMIT: Duration = Duration::from_secs(20);
/// How long is waited for a notice that must not come.
pub(super) const QUIET: Duration = Duration::from_millis(200);

/// A promise that was kept, or which was not.
pub(super) type Kept = Result<(), String>;

/// Reads one sandbox.
pub(super) async fn read(engine: &impl Readings, id: &SandboxId, depth: Depth) -> Result<Reading, ReadError> {
    let read = engine.read(vec![Wanted { id: id.clone(), depth }]).await.pop();
    read.map_or(Err(ReadError::NotFound), |(_, reading)| reading)
}

/// CPU time that the sandbox has used.
pub(super) async fn cpu_usec(engine: &impl Readings, id: &SandboxId) -> Result<u64, String> {
    let reading = read(engine, id, Depth::Counters).await;
    reading.map(|reading| reading.counters.cpu_usage_usec).map_err(|error| format!("counters: {error}"))
}

/// Waits until the sandbox has used more CPU time than now.
pub(super) async fn work_goes_on<S: Subject>(
    subject: &mut S,
    engine: &S::Engine,
    id: &SandboxId,
    what: &str,
) -> Kept {
    let before = cpu_usec(engine, id).await?;
    for _ in 0..LOOKS {
        subject.pass_time().await;
        if cpu_usec(engine, id).await? > before {
            return Ok(());
        }
    }
    keep(what, false)
}

/// Waits until nothing of the sandbox is left on the host.
pub(super) async fn gone(subject: &mut impl Subject, id: &SandboxId) -> Kept {
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left = subject.left_of(id).await;
        if left.is_empty() {
            return Ok(());
        }
        subject.pass_time().await;
    }
    Err(format!("not kept: nothing is left of a killed one, but {left:?}"))
}

pub(super) async fn no_notice(notices: &mut mpsc::Receiver<Notice>, what: &str) -> Kept {
    match tokio::time::timeout(QUIET, notices.recv()).await {
        Ok(Some(notice)) => Err(format!("not kept: {what}, but {notice:?}")),
        Ok(None) | Err(_) => Ok(()),
    }
}

pub(super) fn done<T>(what: &str, result: Result<T, EngineError>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}: {error:?}"))
}

pub(super) fn keep(promise: &str, is_kept: bool) -> Kept {
    if is_kept { Ok(()) } else { Err(format!("not kept: {promise}")) }
}
