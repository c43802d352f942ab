//! A sandbox between its admission and its driver: there may be a row already, and nobody owns it yet. Whatever ends the
//! create in between, a panic or an admission whose answer is lost, the row is given back.

use std::sync::{Arc, Mutex, PoisonError};

use sandscope_model::Sandbox;
use tokio::sync::oneshot;

use crate::context::Context;
use crate::driver::{self, Begin};
use crate::recovery::Plan;

/// The sandbox of a create, while there may be a row of it and there is no driver.
#[derive(Debug, Default)]
pub(crate) struct Undriven(Mutex<Option<Sandbox>>);

impl Undriven {
    /// From now on there may be a row.
    pub(crate) fn hold(&self, sandbox: &Sandbox) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sandbox.clone());
    }

    /// It has a driver, or it is known that there is no row; or whoever calls sees to it.
    pub(crate) fn take(&self) -> Option<Sandbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Gives the row back, if there is one. A driver does it, so that it is tried until it succeeds: this returns once
/// it has, or once the first attempt has failed. Until then the sandbox holds its place in the team's limit.
pub(crate) async fn take_back(context: &Arc<Context>, sandbox: Sandbox) {
    // Its driver was started after all.
    if context.registry.any(&sandbox.id).is_some() {
        return;
    }
    match context.facts.sandbox(&sandbox.id).await {
        Ok(None) => return,
        Ok(Some(_)) => {}
        Err(error) => {
            tracing::warn!(sandbox_id = %sandbox.id, %error, "it is not known whether a sandbox was admitted");
        }
    }
    tracing::warn!(sandbox_id = %sandbox.id, "a sandbox was admitted and not made; its row is given back");
    let slot = context.slots.take_over(&sandbox);
    let (done, is_done) = oneshot::channel();
    driver::spawn(context, sandbox, slot, Begin::Recover { plan: Plan::Forget, done });
    // How it went is the driver's to say.
    let _ = is_done.await;
}
