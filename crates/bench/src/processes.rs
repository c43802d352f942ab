//! What processes take, as the kernel reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

/// Clock ticks per second in `/proc/<pid>/stat`: 100 on every Linux this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time `pid` has used.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    ticks(&format!("/proc/{pid}/stat"))
}

/// CPU time a thread of this process has used.
pub(super) fn cpu_time_of_thread(thread: u32) -> Option<Duration> {
    ticks(&format!("/proc/self/task/{thread}/stat"))
}

fn ticks(stat: &str) -> Option<Duration> {
    let stat = fs::read_to_string(stat).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of `pid`, in bytes.
pub(super) fn rss(pid: u32) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// Memory that would be freed if all `pids` ended (shared pages counted by share), in bytes.
pub(super) fn pss(pids: &BTreeSet<u32>) -> u64 {
    let of = |pid: &u32| kibibytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:");
    pids.iter().filter_map(of).sum()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `server`, its descendants, every process in a control group of one of `sandboxes`, and those processes' ancestors
/// below the host's first process.
pub(super) fn belonging_to(server: u32, sandboxes: &[String]) -> BTreeSet<u32> {
    let parents = parents();
    let mut found: BTreeSet<u32> = [server].into();
    for &pid in parents.keys() {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let inside = sandboxes.iter().any(|id| groups.contains(id.as_str()));
        let line: Vec<u32> = ancestors(pid, &parents);
        if inside || line.contains(&server) {
            found.insert(pid);
        }
        if inside {
            // The process that waits for the sandbox's first process is its direct parent.
            found.extend(line.first().filter(|parent| **parent != server));
        }
    }
    found
}

fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let ppid = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, ppid))
    };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(parent).collect()
}

/// Nearest first, the host's first process not among them.
fn ancestors(pid: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let next = |pid: &u32| parents.get(pid).copied().filter(|parent| *parent > 1);
    std::iter::successors(next(&pid), next).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_about_this_process() {
        let me = std::process::id();
        assert!(cpu_time(me).is_some());
        assert!(rss(me).unwrap() > 0);
        assert!(pss(&[me].into()) > 0);
        assert!(belonging_to(me, &[]).contains(&me));
    }
}
