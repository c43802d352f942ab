//! What is on the host, and what of it belongs to nothing.
//!
//! A sandbox in the making or on its way out has traces of which the runtime holds nothing: such ids are *busy*, and
//! what carries one is left out. The kernel lets go of some things a moment late, so whoever removes strays should
//! have seen them twice.

use std::collections::HashSet;
use std::sync::Arc;

use sandscope_model::SandboxId;

use super::shared::Shared;
use super::step::{blocking, cgroup_step, step};
use super::strays::{self, belongs_to, layers, strays_below};
use crate::{RuntimeError, Stray, Survey};

/// Looks at everything there is.
pub(super) async fn survey(shared: &Arc<Shared>) -> Result<Survey, RuntimeError> {
    let shared = Arc::clone(shared);
    blocking("survey the host", move || {
        // Before looking: what is made or removed meanwhile must not seem to belong to nothing.
        let sandboxes = shared.sandboxes.ids();
        let mut held: HashSet<SandboxId> = sandboxes.iter().cloned().collect();
        held.extend(shared.busy.ids());
        let names = shared.cgroups.list().map_err(cgroup_step("list control groups"))?;
        let groups = names.into_iter().filter_map(|name| name.parse().ok());
        let mut strays: Vec<Stray> = groups.map(Stray::ControlGroups).collect();
        strays.extend(strays_below(&shared.layout).map_err(step("survey the state directory"))?);
        // Again: it may have begun while we looked.
        held.extend(shared.sandboxes.ids());
        held.extend(shared.busy.ids());
        strays.retain(|stray| !belongs_to(stray, &shared.layout, &held));
        let layers = layers(&shared.layout).map_err(step("list captured layers"))?;
        Ok(Survey { sandboxes, layers, strays })
    })
    .await
}

/// Removes what a survey found, unless it belongs to a sandbox by now.
pub(super) async fn remove_stray(shared: &Arc<Shared>, stray: &Stray) -> Result<(), RuntimeError> {
    if let Stray::ControlGroups(id) | Stray::Directory(id) = stray {
        let is_held = shared.sandboxes.get(id).is_some() || shared.busy.has(id);
        if !is_held {
            shared.remove_remains(id).await;
        }
        return Ok(());
    }
    let (layout, stray) = (Arc::clone(&shared.layout), stray.clone());
    blocking("remove what is left behind", move || {
        strays::remove(&stray, &layout).map_err(step("remove what is left behind"))
    })
    .await
}
