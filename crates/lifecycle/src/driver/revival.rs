//! A driver that panicked is followed by another.
//!
//! ```text
//!   driver ──panics──► logged, counted ──► a wait ──► the row of the store × what the host has of it
//!     ▲                                                        │ recovery::plan, as after a restart
//!     └────────────────────── the next driver ◄────────────────┘
//! ```
//!
//! Meanwhile the sandbox stays registered: notices of the engine wait for the next driver, requests are refused as
//! busy. Whoever waited for an answer gets the error that the server failed. A driver that fails again and again is tried ever
//! less often and for ever: one sandbox is no reason to end the server, which all the others need.

use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::FoundState;
use sandscope_model::{Cause, SandboxId, StateName};
use tokio::sync::oneshot;

use super::run::{Begin, Life, take_over};
use crate::cleanup::remove_remains;
use crate::context::{Context, Handle};
use crate::{RequestError, recovery};

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// Runs a driver, and after each panic another, until one ends as drivers do.
pub(super) async fn survive(context: Arc<Context>, id: SandboxId, driver: Life) {
    let (mut next, mut delay) = (Some(driver), FIRST_DELAY);
    while let Some(driver) = next.take() {
        let begun_at = context.clock.uptime();
        if context.drivers.run(&id, driver).await.is_ok() {
            return;
        }
        if context.clock.uptime().since(begun_at) > LONGEST_DELAY {
            delay = FIRST_DELAY;
        }
        next = revive(&context, &id, &mut delay).await;
    }
}

/// Another driver, as soon as host and store say where it begins. `None` if there is nothing to drive any more.
async fn revive(context: &Arc<Context>, id: &SandboxId, delay: &mut Duration) -> Option<Life> {
    loop {
        tokio::select! {
            biased;
            () = context.draining.cancelled() => return None,
            () = context.clock.sleep(*delay) => {}
        }
        *delay = (*delay * 2).min(LONGEST_DELAY);
        match revived(context, id).await {
            Ok(next) => return next,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(sandbox_id = %id, error, "it is not known yet where its next driver begins");
            }
        }
    }
}

async fn revived(context: &Arc<Context>, id: &SandboxId) -> Result<Option<Life>, RequestError> {
    // It had done all there was to do.
    let Some(handle) = context.registry.any(id) else { return Ok(None) };
    let row = context.facts.sandbox(id).await?;
    let Some(sandbox) = row.filter(|sandbox| sandbox.state.name() != StateName::Killed) else {
        context.registry.remove(id);
        remove_remains(context, id).await;
        return Ok(None);
    };
    let found = find(context, &handle, id).await?;
    let plan = recovery::plan(sandbox.state.name(), found.as_ref(), Cause::Vanished);
    let slot = context.slots.take_over(&sandbox);
    // Nobody waits for it.
    let (done, _) = oneshot::channel();
    Ok(Some(take_over(context, sandbox, slot, Begin::Recover { plan, done }, Some(&handle))))
}

/// In what shape it is on the host.
async fn find(
    context: &Context,
    handle: &Handle,
    id: &SandboxId,
) -> Result<Option<FoundState>, RequestError> {
    let exit = handle.exit.borrow().clone();
    if let Some(exit) = exit {
        return Ok(Some(FoundState::Dead(exit)));
    }
    if context.readings.running().contains(id) {
        return Ok(Some(FoundState::Running));
    }
    let survey = context.engine.survey().await.map_err(RequestError::Engine)?;
    Ok(survey.sandboxes.contains(id).then_some(FoundState::Paused))
}
