//! The control groups a sandbox sees: its own, read-only, where programs look for their limits.
//!
//! Which hierarchies there are is read from `/proc/<pid>/cgroup`: `number:controllers:path` for each of version 1,
//! `0::path` for version 2.

/// What limits a sandbox, or counts what it uses.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];
/// Sandboxes have no group of it. Java's runtime believes in no limit at all where it is not mounted.
const WITHOUT_CONTENT: &str = "cpuset";
const HEAD: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";

/// A hierarchy, and where it is seen below `/sys/fs/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Empty for the directory itself.
    pub(crate) at: String,
    /// By what it is mounted if it is of version 1.
    pub(crate) controllers: Option<String>,
    /// The group of the process whose file was read.
    pub(crate) group: String,
    /// Whether it is mounted for its name only.
    pub(crate) is_covered: bool,
}

/// The hierarchies a sandbox sees.
pub(crate) fn places(proc_cgroup: &str) -> Vec<Place> {
    let is_hybrid = hierarchies(proc_cgroup).any(|(number, ..)| number != "0");
    let place = |(number, controllers, group): (&str, &str, &str)| {
        if number == "0" {
            let at = if is_hybrid { "unified" } else { "" };
            let group = group.to_owned();
            return Some(Place { at: at.to_owned(), controllers: None, group, is_covered: false });
        }
        let is_covered = !names(controllers).any(|name| CONTROLLERS.contains(&name));
        let is_seen = !is_covered || names(controllers).any(|name| name == WITHOUT_CONTENT);
        is_seen.then(|| Place {
            at: controllers.to_owned(),
            controllers: Some(controllers.to_owned()),
            group: group.to_owned(),
            is_covered,
        })
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
    let v1 = hierarchies(proc_cgroup).flat_map(|(number, controllers, _)| {
        names(controllers)
            .filter(|name| CONTROLLERS.contains(name) || *name == WITHOUT_CONTENT)
            .map(move |name| line(name, number))
    });
    let lines: String = v1.collect();
    if lines.is_empty() {
        let all = CONTROLLERS.into_iter().chain([WITHOUT_CONTENT]);
        return HEAD.to_owned() + &all.map(|name| line(name, "0")).collect::<String>();
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
        let seen: Vec<_> = places(HYBRID).into_iter().map(|place| (place.at, place.is_covered)).collect();
        let wanted = [("memory", false), ("cpuset", true), ("cpu,cpuacct", false), ("unified", false)];
        assert_eq!(seen, wanted.map(|(at, covered)| (at.to_owned(), covered)));
        assert_eq!(aliases(HYBRID).len(), 2);
        let alone = places("0::/s/i1\n");
        assert_eq!((alone[0].at.as_str(), alone[0].group.as_str(), alone.len()), ("", "/s/i1", 1));
        assert_eq!(places("nonsense\n"), []);
    }

    #[test]
    fn controllers_count_their_own_group_only() {
        assert_eq!(
            controllers(HYBRID),
            format!("{HEAD}memory\t4\t1\t1\ncpuset\t3\t1\t1\ncpu\t2\t1\t1\ncpuacct\t2\t1\t1\n")
        );
        assert!(controllers("0::/\n").contains("memory\t0\t1\t1\n"));
    }
}
