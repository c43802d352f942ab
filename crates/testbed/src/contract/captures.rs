//! Captured layers.

use sandscope_engine::{Engine, EngineError, LaunchSpec, Readings as _};
use sandscope_model::{BuildId, Rootfs, SandboxId};

use super::promise::{Kept, done, gone, keep, work_goes_on};
use super::subject::Subject;

/// A capture is what a new sandbox starts from; without its layer none does.
pub(super) async fn check<S: Subject>(subject: &mut S, engine: &S::Engine, id: &SandboxId) -> Kept {
    let layer = subject.layer();
    for what in ["capture", "a repeated capture"] {
        done(what, engine.capture(id, layer).await)?;
    }
    keep("one runs on after a capture", engine.running().contains(id))?;
    work_goes_on(subject, engine, id, "a captured one goes on").await?;
    done("pause", engine.pause(id).await)?;
    let second = subject.layer();
    done("capture of a paused one", engine.capture(id, second).await)?;
    keep("a paused one stays paused over a capture", !engine.running().contains(id))?;
    done("resume", engine.resume(id).await)?;
    keep("a survey finds captured layers", has_layers(engine, &[layer, second]).await?)?;

    let child = LaunchSpec { rootfs: Rootfs::Snapshot(layer), ..subject.spec() };
    done("create from a captured layer", engine.create(&child).await)?;
    done("kill of what came from a layer", engine.kill(&child.id).await)?;
    gone(subject, &child.id).await?;
    keep("a layer outlives what came from it", has_layers(engine, &[layer]).await?)?;

    for build in [layer, second] {
        for what in ["removal of a layer", "removal of a layer that is gone"] {
            done(what, engine.remove_layer(build).await)?;
        }
    }
    let orphan = LaunchSpec { rootfs: Rootfs::Snapshot(layer), ..subject.spec() };
    let refused = engine.create(&orphan).await.err();
    keep("a missing layer is reported as such", matches!(refused, Some(EngineError::SnapshotMissing)))?;
    keep("what could not be created does not run", !engine.running().contains(&orphan.id))?;
    gone(subject, &orphan.id).await
}

async fn has_layers(engine: &impl Engine, layers: &[BuildId]) -> Result<bool, String> {
    let survey = done("survey", engine.survey().await)?;
    Ok(layers.iter().all(|layer| survey.layers.contains(layer)))
}
