//! Readings of many in one call, and stalls.

use sandscope_engine::{Depth, Engine as _, ReadError, Readings as _, Wanted};
use sandscope_model::{SandboxId, Values};

use super::promise::{Kept, done, gone, keep, read};
use super::subject::Subject;

pub(super) async fn check<S: Subject>(subject: &mut S, engine: &S::Engine, id: &SandboxId) -> Kept {
    let (other, unknown) = (subject.spec(), subject.spec().id);
    done("create of a second one", engine.create(&other).await)?;
    let asked = vec![other.id.clone(), unknown, id.clone()];
    let read_at_once =
        engine.read(asked.iter().cloned().map(|id| Wanted { id, depth: Depth::Counters }).collect()).await;
    let ids: Vec<SandboxId> = read_at_once.iter().map(|(id, _)| id.clone()).collect();
    keep("one call reads all that were asked for, in order", ids == asked)?;
    let outcomes: Vec<bool> = read_at_once.iter().map(|(_, reading)| reading.is_ok()).collect();
    keep("one that cannot be read keeps none of the others", outcomes == [true, false, true])?;
    let unread = read_at_once.into_iter().nth(1).and_then(|(_, reading)| reading.err());
    keep("an unknown one is said to be so", matches!(unread, Some(ReadError::NotFound)))?;
    keep("nothing read is nothing", engine.read(Vec::new()).await.is_empty())?;

    let stored = read(engine, id, Depth::Stored).await.map_err(|error| format!("stored fields: {error}"))?;
    keep("stalls are no stored field", stored.pressures.is_none())?;
    let plain = read(engine, id, Depth::Counters).await.map_err(|error| format!("counters: {error}"))?;
    keep("stalls are read only if asked for", plain.pressures.is_none())?;
    keep("more is read only if asked for", plain.counters.more == Values::NONE)?;
    let deep = read(engine, id, Depth::WithPressures).await.map_err(|error| format!("stalls: {error}"))?;
    let pressures = deep.pressures.ok_or("not kept: stalls are read if asked for")?;
    let can = engine.profile().can.pressures;
    keep("stalls are there if the engine can read them", pressures.cpu.is_some() == can)?;
    let later = deep.counters.taken_at_usec >= plain.counters.taken_at_usec;
    keep("time of readings does not go back", later)?;

    done("kill of the second one", engine.kill(&other.id).await)?;
    gone(subject, &other.id).await
}
