//! The control groups a sandbox sees: its own, read-only, where programs look for their limits.
//!
//! Which hierarchies there are is read from `/proc/<pid>/cgroup`: `number:controllers:path` for each of version 1,
//! `0::path` for version 2.

/// What limits a sandbox, counts what it uses, or is looked for by Java's runtime, which believes in no limit at all where
/// one of these is not mounted.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "cpuset", "memory", "pids"];
const HEAD: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";

/// A hierarchy, and where it is seen below `/sys/fs/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Empty for the directory itself.
    pub at: String,
    /// By what it is mounted if it is of version 1.
    pub controllers: Option<String>,
    /// The group of the process whose file was read.
    pub group: String,
}

impl Place {
    /// Whether the process was in the group of that name.
    pub fn is_in(&self, name: &str) -> bool {
        self.group.rsplit('/').next() == Some(name)
    }
}

/// The hierarchies a sandbox sees.
pub fn places(proc_cgroup: &str) -> Vec<Place> {
    let is_hybrid = hierarchies(proc_cgroup).any(|(number, ..)| number != "0");
    let place = |(number, controllers, group): (&str, &str, &str)| {
        let is_seen = number == "0" || names(controllers).any(|name| CONTROLLERS.contains(&name));
        let (at, controllers) = match number {
            "0" => (if is_hybrid { "unified" } else { "" }, None),
            _ => (controllers, Some(controllers.to_owned())),
        };
        is_seen.then(|| Place { at: at.to_owned(), controllers, group: group.to_owned() })
    };
    hierarchies(proc_cgroup).filter_map(place).collect()
}

/// Further names of places, by which programs look for one controller where several share a hierarchy.
pub(crate) fn aliases(proc_cgroup: &str) -> Vec<(String, String)> {
    let shared = hierarchies(proc_cgroup).filter(|(_, controllers, _)| controllers.contains(','));
    shared
        .flat_map(|(_, controllers, _)| names(controllers).map(move |name| (name, controllers)))
        .filter(|(name, _)| CONTROLLERS.contains(name))
        .map(|(name, controllers)| (name.to_owned(), controllers.to_owned()))
        .collect()
}

/// What `/proc/cgroups` says inside: the kernel's own counts the groups of the whole host.
pub(crate) fn controllers(proc_cgroup: &str) -> String {
    let line = |name: &str, number: &str| format!("{name}\t{number}\t1\t1\n");
    // All that a process's own file names: Java's runtime fails over one that is missing here.
    let v1 = hierarchies(proc_cgroup)
        .filter(|(number, controllers, _)| *number != "0" && !controllers.contains('='));
    let v1 = v1.flat_map(|(number, controllers, _)| names(controllers).map(move |name| line(name, number)));
    let lines: String = v1.collect();
    if lines.is_empty() {
        return HEAD.to_owned() + &CONTROLLERS.map(|name| line(name, "0")).concat();
    }
    HEAD.to_owned() + &lines
}

fn hierarchies(proc_cgroup: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    proc_cgroup.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()?, fields.next()?, fields.next()?))
    })
}

fn names(controllers: &str) -> impl Iterator<Item = &str> {
    controllers.split(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str =
        "5:name=systemd:/\n4:memory:/x\n3:cpuset:/\n2:cpu,cpuacct:/s/i1\n1:freezer:/\n0::/s/i1\n";

    #[test]
    fn only_what_limits_is_seen() {
        let seen: Vec<_> = places(HYBRID).into_iter().map(|place| (place.is_in("i1"), place.at)).collect();
        let wanted = [(false, "memory"), (false, "cpuset"), (true, "cpu,cpuacct"), (true, "unified")];
        assert_eq!(seen, wanted.map(|(is_own, at)| (is_own, at.to_owned())));
        assert_eq!(aliases(HYBRID).len(), 2);
        let alone = places("0::/s/i1\n");
        assert_eq!((alone[0].at.as_str(), alone[0].group.as_str(), alone.len()), ("", "/s/i1", 1));
        assert_eq!(places("nonsense\n"), []);
    }

    #[test]
    fn controllers_count_their_own_group_only() {
        assert_eq!(
            controllers(HYBRID),
            format!(
                "{HEAD}memory\t4\t1\t1\ncpuset\t3\t1\t1\ncpu\t2\t1\t1\ncpuacct\t2\t1\t1\nfreezer\t1\t1\t1\n"
            )
        );
        assert!(controllers("0::/\n").contains("memory\t0\t1\t1\n"));
    }
}
