//! Making, pausing, resuming and ending.

use sandscope_agent_protocol::AGENT_PORT;
use sandscope_engine::{Depth, Dial, DialFailure, Engine, EngineError, ReadError, Readings, Stray};
use sandscope_model::{BuildId, SandboxId};

use super::promise::{Kept, cpu_usec, done, keep, read, work_goes_on};
use super::subject::Subject;

/// A port nobody listens on.
const CLOSED_PORT: u16 = 6;

/// Makes a sandbox, pauses and resumes it, and leaves it running and busy.
pub(super) async fn check<S: Subject>(subject: &mut S, engine: &S::Engine) -> Result<SandboxId, String> {
    let spec = subject.spec();
    let id = &spec.id;
    unknown(engine, id, subject.layer()).await?;

    done("create", engine.create(&spec).await)?;
    let first = first_process(engine, id).await?;
    done("create of one that is there", engine.create(&spec).await)?;
    keep("a repeated create makes no second one", first_process(engine, id).await? == first)?;
    keep("a running one is listed as running", engine.running() == [id.clone()])?;
    keep("a running one is well", engine.check(id).await.is_ok())?;
    ports(engine, id).await?;
    denied(engine, id, "running").await?;
    keep("a denied operation changes nothing", engine.running() == [id.clone()])?;

    subject.keep_busy(engine, id).await;
    work_goes_on(subject, engine, id, "a busy one uses CPU time").await?;
    for what in ["pause", "pause of a paused one"] {
        done(what, engine.pause(id).await)?;
    }
    let paused_at = cpu_usec(engine, id).await?;
    subject.pass_time().await;
    keep("counters of a paused one do not move", cpu_usec(engine, id).await? == paused_at)?;
    keep("a paused one is not listed as running", engine.running().is_empty())?;
    keep("a paused one counts as well", engine.check(id).await.is_ok())?;
    keep("a paused one's details can be read", engine.details(id).await.is_ok())?;
    keep("a paused one has its first process", first_process(engine, id).await? == first)?;
    for port in [AGENT_PORT, CLOSED_PORT] {
        let refused = engine.dial(id, port).await.err();
        keep("a paused one cannot be reached", matches!(refused, Some(DialFailure::NotRunning)))?;
    }
    denied(engine, id, "paused").await?;
    keep("a denied operation wakes nothing", engine.running().is_empty())?;

    for what in ["resume", "resume of a running one"] {
        done(what, engine.resume(id).await)?;
    }
    keep("a resumed one is listed as running", engine.running() == [id.clone()])?;
    work_goes_on(subject, engine, id, "a resumed one goes on where it was").await?;
    ports(engine, id).await?;
    Ok(spec.id)
}

/// Ends it.
pub(super) async fn end(engine: &(impl Engine + Readings + Dial), id: &SandboxId) -> Kept {
    let exit = done("kill", engine.kill(id).await)?;
    keep("a killed one's exit is known", exit.is_some())?;
    keep("a kill that was asked for has no cause", exit.is_some_and(|exit| exit.cause.is_none()))?;
    let again = done("kill of a killed one", engine.kill(id).await)?;
    keep("a killed one has no second exit", again.is_none())?;
    unknown(engine, id, BuildId::from(uuid_of_nobody())).await
}

const fn uuid_of_nobody() -> uuid::Uuid {
    uuid::Uuid::from_u128(6)
}

/// A closed port is distinguished from an open one, behind which the agent answers.
async fn ports(engine: &(impl Engine + Dial), id: &SandboxId) -> Kept {
    let refused = engine.dial(id, CLOSED_PORT).await.err();
    keep("a closed port is reported as such", matches!(refused, Some(DialFailure::PortClosed)))?;
    let open = engine.dial(id, AGENT_PORT).await.map_err(|error| format!("an open port: {error}"))?;
    sandscope_agent_link::ask_health(open).await.map_err(|error| format!("the agent behind it: {error}"))
}

/// What the engine says it cannot do it does not begin.
async fn denied(engine: &impl Engine, id: &SandboxId, state: &str) -> Kept {
    let is_unsupported = |error| matches!(error, Some(EngineError::Unsupported(_)));
    if !engine.profile().can.store_memory {
        let promise = format!("storing the memory of a {state} one is unsupported");
        keep(&promise, is_unsupported(engine.store(id).await.err()))?;
        keep(&promise, is_unsupported(engine.evict(id).await.err()))?;
    }
    let foreign = Stray {
        engine: "an engine of nobody's",
        kind: "directory",
        name: id.to_string(),
        sandbox: Some(id.clone()),
    };
    keep("another engine's stray is unsupported", is_unsupported(engine.remove(&foreign).await.err()))
}

/// The first process, distinguished from any later one.
async fn first_process(engine: &impl Readings, id: &SandboxId) -> Result<(i32, u64), String> {
    let processes = engine.processes(id).await.map_err(|error| format!("processes: {error}"))?;
    let first = processes.iter().find(|process| process.pid == 1);
    first
        .map(|process| (process.host_pid, process.started_ticks))
        .ok_or_else(|| "no first process".to_owned())
}

/// Nothing can be done with a sandbox that is not there, except to kill it.
async fn unknown(engine: &(impl Engine + Readings + Dial), id: &SandboxId, layer: BuildId) -> Kept {
    let is_unknown = |error| matches!(error, Some(EngineError::NotFound));
    let is_unread = |error| matches!(error, Some(ReadError::NotFound));
    keep("pause of an unknown one", is_unknown(engine.pause(id).await.err()))?;
    keep("resume of an unknown one", is_unknown(engine.resume(id).await.err()))?;
    keep("capture of an unknown one", is_unknown(engine.capture(id, layer).await.err()))?;
    keep("counters of an unknown one", is_unread(read(engine, id, Depth::Counters).await.err()))?;
    keep("details of an unknown one", is_unread(engine.details(id).await.err()))?;
    keep("processes of an unknown one", is_unread(engine.processes(id).await.err()))?;
    keep("an unknown one ails nothing", engine.check(id).await.is_ok())?;
    let refused = engine.dial(id, CLOSED_PORT).await.err();
    keep("dial of an unknown one", matches!(refused, Some(DialFailure::NotRunning)))?;
    let killed = done("kill of an unknown one", engine.kill(id).await)?;
    keep("an unknown one has no exit", killed.is_none())
}
