//! Ends nobody asked for.

use sandscope_engine::{Dial as _, DialFailure, Engine as _, Notice, Readings as _};
use sandscope_model::{Cause, Exit, ExitStatus, SandboxId};
use tokio::sync::mpsc;

use super::promise::{Kept, NOTICE_LIMIT, done, gone, keep, no_notice};
use super::subject::Subject;

pub(super) async fn check<S: Subject>(
    subject: &mut S,
    engine: &S::Engine,
    notices: &mut mpsc::Receiver<Notice>,
) -> Kept {
    no_notice(notices, "no notice follows a kill that was asked for").await?;
    let spec = subject.spec();
    let id = &spec.id;
    done("create", engine.create(&spec).await)?;
    subject.end_first_process(id).await;
    let exit = ended(notices, id).await?;
    keep("a death names its cause", exit.cause == Some(Cause::AgentSignalled))?;
    keep("a death names its signal", exit.status == Some(ExitStatus::Signal(9)))?;
    keep("a dead one is not listed as running", !engine.running().contains(id))?;
    let refused = engine.dial(id, 6).await.err();
    keep("a dead one cannot be reached", matches!(refused, Some(DialFailure::NotRunning)))?;
    let survey = done("survey", engine.survey().await)?;
    keep("a dead one is held until it is killed", survey.sandboxes.contains(id))?;
    let kept = done("kill of a dead one", engine.kill(id).await)?;
    keep("a dead one's exit is kept until it is killed", kept == Some(Exit { cause: None, ..exit }))?;
    keep("a dead one is killed once", done("kill", engine.kill(id).await)?.is_none())?;
    no_notice(notices, "a death is reported once").await?;
    gone(subject, id).await
}

async fn ended(notices: &mut mpsc::Receiver<Notice>, id: &SandboxId) -> Result<Exit, String> {
    match tokio::time::timeout(NOTICE_LIMIT, notices.recv()).await {
        Ok(Some(Notice::Ended { id: of, exit })) if of == *id => Ok(exit),
        other => Err(format!("not kept: a notice comes for a death, but {other:?}")),
    }
}
