//! A set that has only half of the CPUs, so that the kernel's work for it does not stand in the way on the others.
//!
//! In version 2 its own group says so. In version 1 that would take one more group for each set, and its tasks one more
//! move; so they come to a group of all those that have half, made for the first and removed after the last.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::cgroups::CgroupOptions;
use crate::controller::Controller;
use crate::directories::remove_dir;
use crate::error::CgroupError;
use crate::group::{Group, make_dir};
use crate::hierarchy::{Hierarchy, Version};
use crate::parse;
use crate::set::CgroupSet;

/// How often tasks are looked for again that began while others were moved. Whoever forks faster stays where it is, with
/// what it starts from then on, and is bound by the limits of its own groups as before.
const PASSES: u32 = 8;

/// Where version 1 has the tasks of those that have half of the CPUs.
#[derive(Debug)]
pub(crate) struct HalfPlace {
    /// This process's own group, from which sandboxes' tasks come.
    home: PathBuf,
    dir: PathBuf,
}

impl HalfPlace {
    /// None in version 2, and where CPUs share their hierarchy with what sandboxes have a group for.
    pub(crate) fn plan(hierarchies: &[Hierarchy], options: &CgroupOptions) -> Option<Self> {
        let is_alone = |hierarchy: &&Hierarchy| {
            hierarchy.version == Version::V1 && hierarchy.controllers == [Controller::Cpuset]
        };
        let home = hierarchies.iter().find(is_alone)?.own_dir.clone();
        let parts = options.parent.iter().filter_map(|part| part.to_str()).filter(|part| *part != "/");
        let name: Vec<&str> = parts.chain(options.owner.as_deref()).chain(["half"]).collect();
        Some(Self { dir: home.join(name.join(".")), home })
    }

    fn open(path: &Path) -> Result<Group, CgroupError> {
        Group::open(Version::V1, vec![Controller::Cpuset], path.to_path_buf())
    }

    fn enter(&self, tasks: &Group) -> Result<bool, CgroupError> {
        let home = Self::open(&self.home)?;
        let Some(cpus) = half_of(&home, "cpuset.effective_cpus") else { return Ok(false) };
        make_dir(&self.dir)?;
        let dir = Self::open(&self.dir)?;
        dir.write("cpuset.cpus", &cpus)?;
        let nodes = home.text("cpuset.effective_mems").unwrap_or_default();
        dir.write("cpuset.mems", String::from_utf8_lossy(&nodes).trim())?;
        move_all(tasks, &dir, |is_there| !is_there, &dir)?;
        Ok(true)
    }

    fn leave(&self, tasks: &Group) -> Result<bool, CgroupError> {
        if !self.dir.is_dir() {
            return Ok(true);
        }
        let dir = Self::open(&self.dir)?;
        move_all(tasks, &Self::open(&self.home)?, |is_there| is_there, &dir)?;
        Ok(true)
    }

    /// Removes the place if nobody is there; says whether it is gone.
    pub(crate) fn remove(&self) -> Result<bool, CgroupError> {
        match remove_dir(&self.dir) {
            Ok(()) => Ok(true),
            Err(error) if error.is_busy() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Moves each task of `tasks` that `dir` has, or has not. Whichever ends meanwhile need not move, and its number is not
/// given to another so soon.
fn move_all(tasks: &Group, to: &Group, moves: impl Fn(bool) -> bool, dir: &Group) -> Result<(), CgroupError> {
    for _ in 0..PASSES {
        let there: HashSet<i32> = dir.ids("tasks")?.into_iter().collect();
        let mut moving = tasks.ids("tasks")?;
        moving.retain(|task| moves(there.contains(task)));
        if moving.is_empty() {
            break;
        }
        for task in moving {
            let _ended = to.write("tasks", &task.to_string());
        }
    }
    Ok(())
}

/// The later half of the CPUs that a file names; none where there are fewer than two.
fn half_of(group: &Group, file: &str) -> Option<String> {
    let cpus = parse::cpus(&group.text(file)?)?;
    let half = cpus.get(cpus.len().div_ceil(2)..).filter(|half| !half.is_empty())?;
    Some(half.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
}

impl CgroupSet {
    /// Keeps the set to the later half of the CPUs, or gives it all of them. Says whether that can be had here: not
    /// where there is one CPU, nor where nobody hands the controller down.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the set was removed.
    pub fn keep_to_half(&self, half: bool) -> Result<bool, CgroupError> {
        if let Some(group) = self.groups().iter().find(|group| group.has(Controller::Cpuset)) {
            let above = group.path.parent().unwrap_or(&group.path).to_path_buf();
            let above = Group::open(group.version, Vec::new(), above)?;
            let cpus = if half { half_of(&above, "cpuset.cpus.effective") } else { Some(String::new()) };
            let Some(cpus) = cpus else { return Ok(false) };
            // An empty line: as the group above has it.
            return group.write_if_there("cpuset.cpus", &format!("{cpus}\n"));
        }
        let tasks = self.groups().iter().find(|group| group.version == Version::V1);
        match (self.places().half.as_ref(), tasks) {
            (Some(place), Some(tasks)) if half => place.enter(tasks),
            (Some(place), Some(tasks)) => place.leave(tasks),
            _ => Ok(false),
        }
    }
}
