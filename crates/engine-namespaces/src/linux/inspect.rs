//! A look at the host from outside the server: nothing is held, changed or locked, so that it can be taken beside a
//! running server and without one.

use std::io;
use std::path::Path;

use sandscope_cgroup::{CgroupOptions, Cgroups};
use sandscope_engine::Stray;
use sandscope_model::{BuildId, ExitStatus, SandboxId};

use super::disk;
use super::handles::{Shown, hold, shown};
use super::layout::Layout;
use super::record::{self, EXIT_FILE, ExitRecord, SANDBOX_FILE, SandboxRecord};
use super::strays::{Held, belongs_to, layers, strays_below};
use super::trace::Trace;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// Every sandbox that has a directory.
    pub sandboxes: Vec<(SandboxId, Seen)>,
    /// The captured layers.
    pub layers: Vec<BuildId>,
    /// What else a sandbox leaves and no directory accounts for: control groups, loop devices, mounts, trash.
    pub others: Vec<Stray>,
}

/// In what shape a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Its processes run.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its processes are gone.
    Dead(Option<ExitStatus>),
    /// Its processes live, but something they need is gone from the host.
    Broken(&'static str),
    /// It was being made, or its record cannot be read.
    HalfMade,
    /// Its processes live, and their disk lies in another directory: this one was copied from there.
    Elsewhere,
}

/// Looks at everything below `state_dir`.
///
/// # Errors
/// If the directory cannot be read.
pub fn inspect(state_dir: &Path, options: &CgroupOptions) -> io::Result<Inspection> {
    let layout = Layout::look(state_dir)?;
    let boot_id = record::boot_id()?;
    let cgroups = Cgroups::probe(options).ok();
    let mut found = Inspection::default();
    let mut traces = strays_below(&layout)?;
    if options.owner.is_some() {
        let own = cgroups.as_ref().and_then(|cgroups| cgroups.list_own().ok()).unwrap_or_default();
        traces.extend(own.iter().filter_map(|name| name.parse().ok()).map(Trace::ControlGroups));
    }
    let mut held = Held::of_shelf(&layout);
    held.add(traces.iter().filter_map(directory_of), &layout);
    for trace in traces {
        match trace {
            Trace::Directory(id) => {
                let seen = look_at(&layout.sandbox_dir(&id), &boot_id, cgroups.as_ref());
                found.sandboxes.push((id, seen));
            }
            other if !belongs_to(&other, &layout, &held) => found.others.push(other.stray()),
            _ => {}
        }
    }
    found.layers = layers(&layout)?;
    Ok(found)
}

fn directory_of(trace: &Trace) -> Option<SandboxId> {
    match trace {
        Trace::Directory(id) => Some(id.clone()),
        _ => None,
    }
}

fn look_at(dir: &Path, boot_id: &str, cgroups: Option<&Cgroups>) -> Seen {
    let Ok(Some(record)) = record::read::<SandboxRecord>(dir, SANDBOX_FILE) else { return Seen::HalfMade };
    let lives = |name| matches!(hold(name), Ok(Some(_)));
    if record.boot_id != boot_id || !lives(record.made.init) || !lives(record.made.shim) {
        let exit = record::read::<ExitRecord>(dir, EXIT_FILE).ok().flatten();
        return Seen::Dead(exit.and_then(|exit| exit.status()));
    }
    match shown(record.made.loop_device, &dir.join(disk::IMAGE_FILE)) {
        Ok(Shown::This) => {}
        Ok(Shown::Another) => return Seen::Elsewhere,
        Ok(Shown::Nameless) | Err(_) => return Seen::Broken("its disk image is gone"),
    }
    let set =
        cgroups.and_then(|cgroups| cgroups.look(&record.cgroup_name, &record.cgroup_dirs).ok().flatten());
    match set.map(|set| set.is_frozen()) {
        Some(Ok(true)) => Seen::Paused,
        Some(Ok(false)) => Seen::Running,
        Some(Err(_)) | None => Seen::Broken("its control groups are gone"),
    }
}
