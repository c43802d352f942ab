//! Taking sandboxes back after the server was gone.

use std::collections::BTreeMap;

use sandscope_agent_protocol::AGENT_PORT;
use sandscope_engine::{Dial as _, Engine as _, FoundState, Notice, Readings as _};
use sandscope_model::{Exit, SandboxId};
use tokio::sync::mpsc;

use super::promise::{Kept, cpu_usec, done, gone, keep, no_notice, work_goes_on};
use super::subject::Subject;

pub(super) async fn check<S: Subject>(
    subject: &mut S,
    engine: S::Engine,
    notices: mpsc::Receiver<Notice>,
) -> Kept {
    let specs = [subject.spec(), subject.spec(), subject.spec()];
    for spec in &specs {
        done("create", engine.create(spec).await)?;
    }
    let [running, paused, dying] = specs.map(|spec| spec.id);
    let layer = subject.layer();
    done("capture", engine.capture(&running, layer).await)?;
    subject.keep_busy(&engine, &paused).await;
    done("pause", engine.pause(&paused).await)?;
    let used = cpu_usec(&engine, &paused).await?;
    drop(notices);
    subject.stop(engine).await;
    subject.end_first_process(&dying).await;

    let engine = subject.start().await;
    let found = done("recover", engine.recover().await)?;
    let found: BTreeMap<SandboxId, FoundState> =
        found.into_iter().map(|found| (found.id, found.state)).collect();
    keep("all are found again, and nothing else", found.len() == 3)?;
    keep("one that runs is found running", found.get(&running) == Some(&FoundState::Running))?;
    keep("a paused one is found paused", found.get(&paused) == Some(&FoundState::Paused))?;
    let Some(FoundState::Dead(exit)) = found.get(&dying) else {
        return Err(format!("not kept: one that died meanwhile is found dead, but {found:?}"));
    };
    keep("a death that nobody saw has a cause", exit.cause.is_some())?;
    let mut notices = engine.take_notices().ok_or("a new server takes the notices")?;
    no_notice(&mut notices, "what recover reports comes in no notice").await?;

    keep("one that is taken back is listed as running", engine.running() == [running.clone()])?;
    keep("one that is taken back is well", engine.check(&running).await.is_ok())?;
    let open = engine.dial(&running, AGENT_PORT).await.map_err(|error| format!("an open port: {error}"))?;
    sandscope_agent_link::ask_health(open).await.map_err(|error| format!("the agent behind it: {error}"))?;
    let survey = done("survey", engine.survey().await)?;
    keep("a layer outlives the server", survey.layers.contains(&layer))?;
    keep("counters go on where they were", cpu_usec(&engine, &paused).await? >= used)?;
    done("resume of one that is taken back", engine.resume(&paused).await)?;
    work_goes_on(subject, &engine, &paused, "one that is taken back goes on").await?;
    let kept = done("kill of one that died meanwhile", engine.kill(&dying).await)?;
    keep("its exit is kept until it is killed", kept == Some(Exit { cause: None, ..exit.clone() }))?;

    for id in [&running, &paused] {
        keep("one that is taken back can be killed", done("kill", engine.kill(id).await)?.is_some())?;
    }
    done("removal of a layer", engine.remove_layer(layer).await)?;
    for id in [&running, &paused, &dying] {
        gone(subject, id).await?;
    }
    no_notice(&mut notices, "no notice follows a kill that was asked for").await?;
    let survey = done("survey", engine.survey().await)?;
    let is_empty = survey.sandboxes.is_empty() && survey.layers.is_empty() && survey.strays.is_empty();
    keep("nothing is left on the host", is_empty)?;
    subject.stop(engine).await;
    Ok(())
}
