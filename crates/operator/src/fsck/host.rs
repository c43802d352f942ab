//! The rows against the kernel and the files on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use sandscope_cgroup::CgroupOptions;
use sandscope_engine_namespaces::linux::{self, Inspection, Seen};
use sandscope_model::{BuildId, Sandbox, SandboxId, StateName};

use super::report::Finding;

/// A look at the host, away from the threads that wait for the store.
pub(super) async fn look(data_dir: PathBuf, owner: Option<String>) -> anyhow::Result<Inspection> {
    let options = CgroupOptions { owner, ..CgroupOptions::default() };
    let looked = tokio::task::spawn_blocking(move || linux::inspect(&data_dir, &options)).await?;
    match looked {
        // No sandbox has ever been made here.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Inspection::default()),
        looked => looked.context("cannot look at the host"),
    }
}

pub(super) fn compare(
    rows: &[Sandbox],
    layers: &[BuildId],
    seen: &Inspection,
    has_server: bool,
    found: &mut BTreeSet<Finding>,
) {
    let on_host: BTreeMap<&SandboxId, &Seen> = seen.sandboxes.iter().map(|(id, seen)| (id, seen)).collect();
    // A server puts these right at once or has a driver at work; without one they are left to the next start.
    let finding = |subject: &dyn std::fmt::Display, what: String| {
        if has_server {
            Finding::wrong(subject, what)
        } else {
            Finding::pending(subject, format!("{what}: the next start settles it"))
        }
    };
    for row in rows {
        let what = compare_row(row, on_host.get(&row.id).copied());
        found.extend(what.map(|what| finding(&row.id, what)));
    }
    for id in on_host.keys().filter(|id| !rows.iter().any(|row| row.id == ***id)) {
        found.insert(finding(id, "it is on the host, but not recorded as alive".to_owned()));
    }
    for stray in &seen.others {
        found.insert(finding(&"host", format!("{stray} belongs to nothing")));
    }
    let kept: BTreeSet<&BuildId> = seen.layers.iter().collect();
    for layer in layers.iter().filter(|layer| !kept.contains(layer)) {
        found.insert(Finding::wrong(layer, "the layer of this build is not on the host"));
    }
    let recorded: BTreeSet<&BuildId> = layers.iter().collect();
    for layer in kept.difference(&recorded) {
        // A checkpoint captures its layer before it is recorded.
        found.insert(Finding::pending(
            layer,
            "this captured layer belongs to no build: a running server removes it",
        ));
    }
}

/// What is wrong with a live row, held against the host. An intent that stays for several looks is said, too.
fn compare_row(row: &Sandbox, seen: Option<&Seen>) -> Option<String> {
    let state = row.state.name();
    let shape = match seen {
        None => "not there".to_owned(),
        Some(Seen::Running) => "running".to_owned(),
        Some(Seen::Paused) => "standing still".to_owned(),
        Some(Seen::Dead(Some(status))) => format!("dead ({status:?})"),
        Some(Seen::Dead(None)) => "dead".to_owned(),
        Some(Seen::Broken(what)) => format!("there, but {what}"),
        Some(Seen::HalfMade) => "half made".to_owned(),
        Some(Seen::Elsewhere) => "another data directory's, of which this is a copy".to_owned(),
    };
    let generation = row.generation;
    let agrees = matches!(
        (state, seen),
        (StateName::Running, Some(Seen::Running)) | (StateName::Paused, Some(Seen::Paused))
    );
    (!agrees).then(|| format!("it is {state}, on the host it is {shape} (generation {generation})"))
}
