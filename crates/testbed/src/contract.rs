//! What every [`Runtime`] must do, whichever it is: the fake and the real one are held to the same.

use std::time::Duration;

use sandscope_model::{BuildId, Rootfs, SandboxId};
use sandscope_runtime::{ConnectError, LaunchSpec, Runtime, RuntimeError};

/// Asks `runtime` for everything it promises, on sandboxes made from what `new_spec` returns: each time another id, a
/// [`Rootfs::Host`], and a `layer` nobody used before. A port nobody listens on is taken to be 6. Leaves nothing
/// behind.
///
/// # Errors
/// The first promise that is not kept, in words.
pub async fn check_runtime_contract(
    runtime: &dyn Runtime,
    layer: BuildId,
    mut new_spec: impl FnMut() -> LaunchSpec,
) -> Result<(), String> {
    let mut notices = runtime.take_notices().ok_or("notices can be taken once")?;
    keep("notices cannot be taken twice", runtime.take_notices().is_none())?;
    let spec = new_spec();
    let id = &spec.id;
    unknown_to(runtime, id, layer).await?;

    done("create", runtime.create(&spec).await)?;
    keep("a running one is listed as running", runtime.running().contains(id))?;
    keep("a running one is well", runtime.check(id).await.is_ok())?;
    let survey = runtime.survey().await.map_err(|error| format!("survey: {error}"))?;
    keep("a survey finds it", survey.sandboxes.contains(id))?;
    let before = runtime.counters(id).map_err(|error| format!("counters of a running one: {error}"))?;
    let refused = runtime.connect(id, 6).await.err();
    keep("a closed port is told as such", matches!(refused, Some(ConnectError::PortClosed)))?;

    for what in ["pause", "pause of a paused one"] {
        done(what, runtime.pause(id).await)?;
    }
    keep("a paused one's details can be read", runtime.details(id).is_ok())?;
    let processes = runtime.processes(id).map_err(|error| format!("processes of a paused one: {error}"))?;
    keep("a sandbox has a first process", processes.iter().any(|process| process.pid == 1))?;
    keep("a paused one is not listed as running", !runtime.running().contains(id))?;
    let refused = runtime.connect(id, 6).await.err();
    keep("a paused one cannot be reached", matches!(refused, Some(ConnectError::NotRunning)))?;
    for what in ["resume", "resume of a running one"] {
        done(what, runtime.resume(id).await)?;
    }
    keep("a resumed one is listed as running", runtime.running().contains(id))?;
    let after = runtime.counters(id).map_err(|error| format!("counters of a resumed one: {error}"))?;
    keep("CPU time never goes back", after.cpu_usage_usec >= before.cpu_usage_usec)?;

    snapshots(runtime, id, layer, &mut new_spec).await?;

    let exit = runtime.kill(id).await.map_err(|error| format!("kill: {error}"))?;
    keep("a killed one's exit is known", exit.is_some())?;
    keep("a kill that was asked for has no cause", exit.is_some_and(|exit| exit.cause.is_none()))?;
    unknown_to(runtime, id, layer).await?;
    let notice = tokio::time::timeout(Duration::from_millis(200), notices.recv()).await;
    keep("no notice follows a kill that was asked for", notice.is_err())
}

/// A checkpoint is what a new sandbox starts from; without its layer none does.
async fn snapshots(
    runtime: &dyn Runtime,
    id: &SandboxId,
    layer: BuildId,
    new_spec: &mut impl FnMut() -> LaunchSpec,
) -> Result<(), String> {
    runtime.checkpoint(id, layer).await.map_err(|error| format!("checkpoint: {error}"))?;
    keep("one runs on after a checkpoint", runtime.running().contains(id))?;
    let survey = runtime.survey().await.map_err(|error| format!("survey: {error}"))?;
    keep("a survey finds a captured layer", survey.layers.contains(&layer))?;
    let child = LaunchSpec { rootfs: Rootfs::Snapshot(layer), ..new_spec() };
    done("create from a snapshot", runtime.create(&child).await)?;
    runtime.kill(&child.id).await.map_err(|error| format!("kill of a snapshot's child: {error}"))?;
    for what in ["delete_snapshot", "delete_snapshot of one that is gone"] {
        done(what, runtime.delete_snapshot(layer).await)?;
    }
    let orphan = LaunchSpec { rootfs: Rootfs::Snapshot(layer), ..new_spec() };
    let refused = runtime.create(&orphan).await.err();
    keep("a missing layer is told as such", matches!(refused, Some(RuntimeError::SnapshotMissing)))?;
    keep("nothing remains of what could not be created", !runtime.running().contains(&orphan.id))
}

/// Nothing can be done with a sandbox that is not there, except to kill it.
async fn unknown_to(runtime: &dyn Runtime, id: &SandboxId, layer: BuildId) -> Result<(), String> {
    let is_unknown = |error| matches!(error, Some(RuntimeError::NotFound));
    keep("pause of an unknown one", is_unknown(runtime.pause(id).await.err()))?;
    keep("resume of an unknown one", is_unknown(runtime.resume(id).await.err()))?;
    keep("checkpoint of an unknown one", is_unknown(runtime.checkpoint(id, layer).await.err()))?;
    keep("counters of an unknown one", is_unknown(runtime.counters(id).err()))?;
    keep("details of an unknown one", is_unknown(runtime.details(id).err()))?;
    keep("processes of an unknown one", is_unknown(runtime.processes(id).err()))?;
    let refused = runtime.connect(id, 6).await.err();
    keep("connect to an unknown one", matches!(refused, Some(ConnectError::NotRunning)))?;
    let killed = runtime.kill(id).await.map_err(|error| format!("kill of an unknown one: {error}"))?;
    keep("an unknown one has no exit", killed.is_none())
}

fn done(what: &str, result: Result<(), RuntimeError>) -> Result<(), String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn keep(promise: &str, is_kept: bool) -> Result<(), String> {
    if is_kept { Ok(()) } else { Err(format!("not kept: {promise}")) }
}
