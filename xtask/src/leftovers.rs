//! What tests may leave on a host without anybody noticing: processes, mounts, loop devices, control groups. Counted
//! before and after everything, other servers' aside; what each server of the end-to-end tests leaves is found more exactly by `trail`. A
//! namespace lasts as long as a process, a descriptor or a mount holds it: here it shows as one of those.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::neighbours::{Belongings, Neighbours};

/// Everything on this host that could be a sandbox's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inventory {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    loop_devices: BTreeSet<String>,
    control_groups: BTreeSet<String>,
    neighbours: Neighbours,
}

impl Inventory {
    pub(crate) fn take() -> Self {
        let mut control_groups = BTreeSet::new();
        groups_below(Path::new("/sys/fs/cgroup"), 6, &mut control_groups);
        let devices = loop_devices();
        let images: Vec<String> = devices.iter().map(|(_, file)| file.clone()).collect();
        let neighbours = Neighbours::look(&images);
        let loop_devices = devices.into_iter().map(|(name, file)| format!("{name}: {file}")).collect();
        Self { processes: processes(), mounts: mounts(), loop_devices, control_groups, neighbours }
    }

    /// Fails if there is something now that was not there when `self` was taken. Removing control groups takes the
    /// kernel a moment, so the answer may come late, within a bound.
    pub(crate) fn compare(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = Self::take();
            let more = self.more_in(&now, &self.neighbours.belongings());
            if more.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("left behind:\n  {}", more.join("\n  "));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What is more than before and nobody else's.
    fn more_in(&self, now: &Self, others: &Belongings) -> Vec<String> {
        type IsTheirs<'a> = &'a dyn Fn(&str) -> bool;
        let more = |kind: &'static str, [before, after]: [&BTreeSet<String>; 2], is_theirs: IsTheirs<'_>| {
            let more = after.difference(before).filter(|one| !is_theirs(one));
            more.map(|one| format!("{kind} {one}")).collect::<Vec<_>>()
        };
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let file =
            |device: &str| device.split_once(": ").map(|(_, file)| file.to_owned()).unwrap_or_default();
        [
            more("process", [&self.processes, &now.processes], &|pid| others.has_process(pid)),
            more("mount", [&self.mounts, &now.mounts], &|point| others.has_path(Path::new(point))),
            more("loop device", [&self.loop_devices, &now.loop_devices], &|device| {
                others.has_path(Path::new(&file(device)))
            }),
            more("control group", [&self.control_groups, &now.control_groups], &|path| {
                others.has_group(&last(path))
            }),
        ]
        .concat()
    }
}

fn processes() -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    let pids = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let ours = |pid: &String| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with("sandscope-agent") || command.contains("internal-launcher")
    };
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())).filter(ours).collect()
}

fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let point = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    table.lines().filter_map(point).collect()
}

/// Devices and the files behind them.
pub(crate) fn loop_devices() -> Vec<(String, String)> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = |name: String| {
        let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        Some((name, file.trim().to_owned()))
    };
    entries.filter_map(|entry| backing(entry.file_name().to_string_lossy().into_owned())).collect()
}

/// Control groups of sandboxes and those for all that are kept to half of the CPUs, in every hierarchy below `directory`.
pub(crate) fn groups_below(directory: &Path, depth: u8, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink())
    {
        if path.parent().is_some_and(|parent| parent.ends_with("sandscope")) || is_for_half(&path) {
            found.insert(path.display().to_string());
        } else if depth > 0 {
            groups_below(&path, depth - 1, found);
        }
    }
}

/// Of servers and of the engine's tests; named by `crates/cgroup/src/half.rs`.
fn is_for_half(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("sandscope") && name.ends_with(".half")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_for_half_of_the_cpus_are_told_from_their_neighbours() {
        for (path, is) in
            [("/c/sandscope.o.half", true), ("/c/sandscope-engine-test.o.half", true), ("/c/x.half", false)]
        {
            assert_eq!(is_for_half(Path::new(path)), is, "{path}");
        }
        assert!(!is_for_half(Path::new("/c/sandscope")));
    }
}
