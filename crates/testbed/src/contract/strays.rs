//! What belongs to nothing.

use sandscope_engine::{Engine, Readings as _, Stray};
use sandscope_model::SandboxId;

use super::promise::{Kept, LOOKS, done, gone, keep};
use super::subject::Subject;

pub(super) async fn check<S: Subject>(subject: &mut S, engine: &S::Engine, id: &SandboxId) -> Kept {
    keep("what lives is no stray", strays_of(engine, id).await?.is_empty())?;
    let survey = done("survey", engine.survey().await)?;
    keep("a survey finds what lives", survey.sandboxes == [id.clone()])?;

    let left = subject.leave_behind().await;
    let found = strays_of(engine, &left).await?;
    keep("what is left behind is found", !found.is_empty())?;
    let name = engine.profile().engine;
    keep("a stray names its engine", found.iter().all(|stray| stray.engine == name))?;
    let mut is_removed = false;
    for _ in 0..LOOKS {
        for stray in &found {
            // What something else still holds is removed by a later round.
            let _later = engine.remove(stray).await;
        }
        is_removed = strays_of(engine, &left).await?.is_empty();
        if is_removed {
            break;
        }
        subject.pass_time().await;
    }
    keep("what is left behind can be removed", is_removed)?;
    for stray in &found {
        done("removal of a stray that is gone", engine.remove(stray).await)?;
    }
    gone(subject, &left).await?;

    // One that was found to be a stray and belongs to a sandbox by now: as found by a look that came too early.
    let mistaken =
        found.into_iter().map(|stray| Stray { sandbox: Some(id.clone()), name: id.to_string(), ..stray });
    for stray in mistaken {
        done("removal of what belongs to a sandbox", engine.remove(&stray).await)?;
    }
    keep("what belongs to a sandbox is not removed", engine.running().contains(id))?;
    let ailment = engine.check(id).await.err();
    keep("a sandbox is well after strays were removed", ailment.is_none())
}

async fn strays_of(engine: &impl Engine, id: &SandboxId) -> Result<Vec<Stray>, String> {
    let survey = done("survey", engine.survey().await)?;
    let of = |stray: &Stray| stray.sandbox.as_ref() == Some(id);
    Ok(survey.strays.into_iter().filter(of).collect())
}
