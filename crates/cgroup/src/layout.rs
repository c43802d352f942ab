//! Where sandboxes' control groups go: which hierarchies a set spans, and the parent directory in each.

use std::path::{Component, Path, PathBuf};

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::{Group, make_dir};
use crate::hierarchy::{Hierarchy, Version};

/// Where the server itself moves in version 2, so that its former group may have children with controllers (the
/// kernel's "no internal processes" rule). Name it in `DelegateSubgroup=` of a systemd unit.
pub const SERVER_LEAF: &str = "sandscope-server";

/// One hierarchy's part in every set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) version: Version,
    /// The controllers taken from this hierarchy.
    pub(crate) controllers: Vec<Controller>,
    pub(crate) mount_point: PathBuf,
    pub(crate) own_dir: PathBuf,
    /// The directory sandboxes' groups are made in.
    pub(crate) dir: PathBuf,
}

/// Picks a hierarchy for everything a set does.
///
/// Freezing, killing and CPU time come from version 2 wherever it is mounted, even without controllers: its freezer
/// lets frozen processes be killed and reports when it is done.
pub(crate) fn plan(
    hierarchies: &[Hierarchy],
    parent: &Path,
    limits_device_rates: bool,
) -> Result<Vec<Parent>, CgroupError> {
    let unified = hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
    let mut wanted = vec![Controller::Cpu, Controller::Memory, Controller::Pids];
    if unified.is_none() {
        wanted.extend([Controller::Cpuacct, Controller::Freezer]);
    }
    for controller in &wanted {
        if !hierarchies.iter().any(|hierarchy| hierarchy.controllers.contains(controller)) {
            return Err(match controller {
                Controller::Freezer => CgroupError::FreezerMissing,
                controller => CgroupError::ControllerMissing(*controller),
            });
        }
    }
    wanted.extend([Controller::Devices, Controller::Cpuset]);
    if limits_device_rates {
        wanted.push(Controller::Io);
    }
    // In version 1 these do not stand in sandboxes' own groups: see `rates` and `half`.
    let elsewhere = [Controller::Io, Controller::Cpuset];
    let is_wanted = |version, controller: &Controller| {
        wanted.contains(controller) && (version == Version::V2 || !elsewhere.contains(controller))
    };
    let parents = hierarchies.iter().filter_map(|hierarchy| {
        let controllers: Vec<_> =
            hierarchy.controllers.iter().copied().filter(|c| is_wanted(hierarchy.version, c)).collect();
        let used = hierarchy.version == Version::V2 || !controllers.is_empty();
        used.then(|| Parent {
            version: hierarchy.version,
            dir: parent_dir(hierarchy, parent, &controllers),
            controllers,
            mount_point: hierarchy.mount_point.clone(),
            own_dir: hierarchy.own_dir.clone(),
        })
    });
    Ok(parents.collect())
}

fn parent_dir(hierarchy: &Hierarchy, parent: &Path, controllers: &[Controller]) -> PathBuf {
    if let Ok(below_root) = parent.strip_prefix("/") {
        return hierarchy.mount_point.join(below_root);
    }
    if hierarchy.version == Version::V1 || controllers.is_empty() {
        return hierarchy.own_dir.join(parent);
    }
    let own_name = hierarchy.own_dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if own_name == SERVER_LEAF {
        return hierarchy.own_dir.with_file_name(parent);
    }
    // A unit's group belongs to systemd, which could not start the unit again below one with controllers.
    let of_systemd = [".service", ".scope", ".slice"].iter().any(|ending| own_name.ends_with(ending));
    if of_systemd { hierarchy.mount_point.join(parent) } else { hierarchy.own_dir.join(parent) }
}

/// Whether `parent` can be joined to a mount point without leaving it.
pub(crate) fn is_sound_parent(parent: &Path) -> bool {
    let sound = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
    parent.components().all(sound) && parent.file_name().is_some()
}

impl Parent {
    /// Makes the parent directory and, in version 2, hands its controllers down to it and through it.
    pub(crate) fn prepare(&self) -> Result<(), CgroupError> {
        let below = self.dir.strip_prefix(&self.mount_point).unwrap_or(Path::new(""));
        let mut dir = self.mount_point.clone();
        self.enable_in(&dir)?;
        for part in below.components() {
            dir.push(part);
            make_dir(&dir)?;
            self.enable_in(&dir)?;
        }
        Ok(())
    }

    fn enable_in(&self, dir: &Path) -> Result<(), CgroupError> {
        if self.version == Version::V1 || self.controllers.is_empty() {
            return Ok(());
        }
        let path = dir.join("cgroup.subtree_control");
        let enabled =
            std::fs::read_to_string(&path).map_err(|source| CgroupError::file("read", &path, source))?;
        let is_on = |controller: &&Controller| enabled.split_whitespace().any(|on| on == controller.name());
        let orders: Vec<String> = self
            .controllers
            .iter()
            .filter(|c| !is_on(c) && **c != Controller::Cpuset)
            .map(|controller| format!("+{controller}"))
            .collect();
        let group = Group::open(self.version, Vec::new(), dir.to_owned())?;
        if !orders.is_empty() {
            self.order(&group, &orders.join(" "))?;
        }
        if self.controllers.iter().any(|c| *c == Controller::Cpuset && !is_on(&c)) {
            // Not everybody who hands down the others hands down this one, and it is no need.
            let _not_here = self.order(&group, "+cpuset");
        }
        Ok(())
    }

    fn order(&self, group: &Group, order: &str) -> Result<(), CgroupError> {
        match group.write("cgroup.subtree_control", order) {
            Err(error) if error.is_busy() && group.path == self.own_dir => {
                self.make_room(group)?;
                group.write("cgroup.subtree_control", order)
            }
            outcome => outcome,
        }
    }

    /// Moves this process out of the way; at the top of a container, where everything is the operator's own, the
    /// other processes as well.
    fn make_room(&self, own: &Group) -> Result<(), CgroupError> {
        let leaf = self.own_dir.join(SERVER_LEAF);
        make_dir(&leaf)?;
        let leaf = Group::open(self.version, Vec::new(), leaf)?;
        leaf.write("cgroup.procs", "0")?;
        if self.own_dir == self.mount_point {
            for pid in own.processes()? {
                // It may have ended since.
                let _ended = leaf.write("cgroup.procs", &pid.to_string());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
