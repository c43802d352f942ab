//! What every engine must do, whichever it is: the fake and the real ones are held to the same.
//!
//! A [`Subject`] is a host with an engine on it: it starts and stops the engine as a server does, and does to sandboxes
//! what happens without the engine's doing. [`check_engine_contract`] asks for everything the three traits promise and
//! leaves nothing behind; the first promise that is not kept is returned in words.

mod captures;
mod deaths;
mod lives;
mod promise;
mod readings;
mod restarts;
mod strays;
mod subject;

use sandscope_engine::Engine;

use promise::{Kept, gone, keep};
pub use subject::Subject;

/// Asks for everything an engine promises. Leaves nothing behind.
///
/// # Errors
/// The first promise that is not kept, in words.
pub async fn check_engine_contract(subject: &mut impl Subject) -> Result<(), String> {
    let engine = subject.start().await;
    let mut notices = engine.take_notices().ok_or("notices can be taken once")?;
    keep("notices cannot be taken twice", engine.take_notices().is_none())?;
    let found = engine.recover().await.map_err(|error| format!("recover: {error}"))?;
    keep("an empty host has no sandboxes", found.is_empty())?;
    profile(&engine)?;

    let id = lives::check(subject, &engine).await?;
    readings::check(subject, &engine, &id).await?;
    captures::check(subject, &engine, &id).await?;
    strays::check(subject, &engine, &id).await?;
    lives::end(&engine, &id).await?;
    deaths::check(subject, &engine, &mut notices).await?;
    gone(subject, &id).await?;
    restarts::check(subject, engine, notices).await
}

fn profile(engine: &impl Engine) -> Kept {
    let profile = engine.profile();
    keep("an engine has a name and a version", !profile.engine.is_empty() && !profile.version.is_empty())?;
    keep("an agent speaks a version of envd", !profile.envd_version.is_empty())?;
    let lacks = |capability| profile.lacking.iter().any(|lack| lack.capability == capability);
    keep("what cannot be read is said to be lacking", profile.can.pressures != lacks("pressures"))
}
