//! What is on the host, and what of it belongs to nothing.
//!
//! A sandbox in the making or on its way out has traces of which the engine holds nothing: such ids are *busy*, and
//! what carries one is left out. The kernel releases some things a moment late, so the remover of strays should
//! have seen them twice.

use std::sync::Arc;

use sandscope_engine::{EngineError, Stray, Survey};

use super::shared::Shared;
use super::step::{blocking, cgroup_step, step};
use super::strays::{self, Held, belongs_to, layers, strays_below};
use super::trace::Trace;

/// Looks at everything there is.
pub(super) async fn survey(shared: &Arc<Shared>) -> Result<Survey, EngineError> {
    let shared = Arc::clone(shared);
    blocking("survey the host", move || {
        // Before looking: what is made or removed meanwhile must not seem to belong to nothing.
        let sandboxes = shared.sandboxes.ids();
        let mut held = Held::of_shelf(&shared.layout);
        held.add(sandboxes.iter().cloned(), &shared.layout);
        held.add(shared.busy.ids(), &shared.layout);
        let names = shared.cgroups.list_own().map_err(cgroup_step("list control groups"))?;
        let groups = names.into_iter().filter_map(|name| name.parse().ok());
        let mut traces: Vec<Trace> = groups.map(Trace::ControlGroups).collect();
        traces.extend(strays_below(&shared.layout).map_err(step("survey the state directory"))?);
        // Again: it may have begun while we looked.
        held.add(shared.sandboxes.ids(), &shared.layout);
        held.add(shared.busy.ids(), &shared.layout);
        traces.retain(|trace| !belongs_to(trace, &shared.layout, &held));
        let layers = layers(&shared.layout).map_err(step("list captured layers"))?;
        let strays = traces.iter().map(Trace::stray).collect();
        Ok(Survey { sandboxes, layers, strays })
    })
    .await
}

/// Removes what a survey found, unless it belongs to a sandbox by now.
pub(super) async fn remove_stray(shared: &Arc<Shared>, stray: &Stray) -> Result<(), EngineError> {
    let trace = Trace::of(stray).ok_or(EngineError::Unsupported("removing what another engine left"))?;
    if let Trace::ControlGroups(id) | Trace::Directory(id) = &trace {
        let is_held = shared.sandboxes.get(id).is_some() || shared.busy.has(id);
        if !is_held {
            shared.remove_remains(id).await;
        }
        return Ok(());
    }
    let layout = Arc::clone(&shared.layout);
    blocking("remove what is left behind", move || {
        strays::remove(&trace, &layout).map_err(step("remove what is left behind"))
    })
    .await
}
