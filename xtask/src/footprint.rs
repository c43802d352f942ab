//! What a process holds: descriptors by kind, threads, asynchronous tasks, memory.

use std::collections::BTreeMap;
use std::fs;

/// Measured at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) descriptors: BTreeMap<String, usize>,
    pub(crate) threads: usize,
    /// As the process itself says; zero where it is not asked.
    pub(crate) tasks: u64,
    pub(crate) resident_kib: u64,
}

impl Footprint {
    /// Empty for a process that is gone.
    pub(crate) fn of(pid: u32, tasks: u64) -> Self {
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            if let Ok(target) = fs::read_link(entry.path()) {
                *descriptors.entry(kind(&target.to_string_lossy())).or_insert(0) += 1;
            }
        }
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Self { descriptors, threads, tasks, resident_kib: resident.unwrap_or_default() }
    }

    /// What `self` has more of than `before` had, in words. Memory is not compared: what an allocator keeps is no leak.
    pub(crate) fn beyond(&self, before: &Self) -> Vec<String> {
        let mut more = Vec::new();
        let mut compare = |what: String, before: u64, now: u64| {
            if now > before {
                more.push(format!("{what}: {before} before, {now} now"));
            }
        };
        for (kind, now) in &self.descriptors {
            // Connections to the databases are opened when they are first needed, up to a fixed number.
            if kind != "database" {
                let before = before.descriptors.get(kind).copied().unwrap_or_default();
                compare(format!("descriptors, {kind}"), before as u64, *now as u64);
            }
        }
        compare("threads".to_owned(), before.threads as u64, self.threads as u64);
        compare("tasks".to_owned(), before.tasks, self.tasks);
        more
    }
}

/// Of the target of a descriptor's link: what it is, without the number that says which.
fn kind(target: &str) -> String {
    if target.contains(".sqlite") {
        return "database".to_owned();
    }
    if target.starts_with("/sys/fs/cgroup/") {
        return "control group".to_owned();
    }
    match target.split_once(':') {
        Some(("anon_inode", name)) => name.trim_matches(['[', ']']).to_owned(),
        Some((name @ ("socket" | "pipe"), _)) => name.to_owned(),
        Some((name, number)) if !name.contains('/') && number.starts_with('[') => format!("namespace {name}"),
        _ if target.starts_with("/memfd:") => "memory file".to_owned(),
        _ if target.starts_with("/dev/") => "device".to_owned(),
        _ => "file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_told_apart_by_kind() {
        for (target, expected) in [
            ("socket:[123]", "socket"),
            ("pipe:[5]", "pipe"),
            ("anon_inode:[pidfd]", "pidfd"),
            ("anon_inode:inotify", "inotify"),
            ("net:[4026535544]", "namespace net"),
            ("/sys/fs/cgroup/pids/sandscope/i0/pids.current", "control group"),
            ("/data/facts.sqlite-wal", "database"),
            ("/memfd:agent (deleted)", "memory file"),
            ("/data/a:[b]/file", "file"),
            ("/dev/loop3", "device"),
        ] {
            assert_eq!(kind(target), expected, "{target}");
        }
    }

    #[test]
    fn only_more_is_too_much() {
        let of = |sockets: usize, tasks| Footprint {
            descriptors: [("socket".to_owned(), sockets), ("database".to_owned(), sockets)].into(),
            threads: 3,
            tasks,
            resident_kib: sockets as u64,
        };
        assert_eq!(of(2, 5).beyond(&of(2, 5)), Vec::<String>::new());
        assert_eq!(of(1, 4).beyond(&of(2, 5)), Vec::<String>::new());
        assert_eq!(
            of(3, 6).beyond(&of(2, 5)),
            ["descriptors, socket: 2 before, 3 now", "tasks: 5 before, 6 now"]
        );
    }

    #[test]
    fn this_process_has_one() {
        let own = Footprint::of(std::process::id(), 0);
        assert!(own.threads > 0 && own.resident_kib > 0 && !own.descriptors.is_empty(), "{own:?}");
        assert_eq!(Footprint::of(u32::MAX, 0), Footprint::default());
    }
}
