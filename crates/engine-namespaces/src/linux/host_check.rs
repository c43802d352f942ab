use std::fmt;
use std::path::Path;

use sandscope_cgroup::{CgroupError, CgroupOptions, Cgroups, Controller};

/// Something this host lacks to run sandboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostProblem {
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl HostProblem {
    fn new(what: impl Into<String>, fix: &str) -> Self {
        Self { what: what.into(), fix: fix.to_owned() }
    }
}

impl fmt::Display for HostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.fix)
    }
}

/// One thing looked at, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCheck {
    /// What was looked at.
    pub name: &'static str,
    /// What is wrong, if anything.
    pub problem: Option<HostProblem>,
}

/// Looks at everything sandboxes need, changing nothing.
pub fn host_checks(options: &CgroupOptions) -> Vec<HostCheck> {
    let check = |name, problem| HostCheck { name, problem };
    vec![
        check("root", root()),
        check("namespaces", namespaces()),
        check("file systems", file_systems()),
        check("loop devices", loop_devices()),
        check("mkfs.ext4", mkfs()),
        check("control groups", control_groups(options)),
        check("memory of processes", dumpable(&setting("fs/suid_dumpable"))),
    ]
}

/// Looks whether sandboxes can be made here, changing nothing. Reports all problems at once.
///
/// # Errors
///
/// Every problem that was found, each with what to do about it.
pub fn check_host(options: &CgroupOptions) -> Result<(), Vec<HostProblem>> {
    let problems: Vec<HostProblem> =
        host_checks(options).into_iter().filter_map(|check| check.problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn root() -> Option<HostProblem> {
    (!rustix::process::geteuid().is_root()).then(|| {
        HostProblem::new("not running as root", "start with sudo, or as a system service without User=")
    })
}

fn namespaces() -> Option<HostProblem> {
    let missing: Vec<_> = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    if !missing.is_empty() {
        return Some(HostProblem::new(
            format!("the kernel has no {} namespaces", missing.join(", ")),
            "use a kernel built with them (every distribution's is)",
        ));
    }
    let limit = setting("user/max_user_namespaces");
    (limit.trim() == "0").then(|| {
        HostProblem::new("user namespaces are turned off", "sysctl -w user.max_user_namespaces=10000")
    })
}

/// What a file below `/proc/sys` says; empty where there is none.
fn setting(name: &str) -> String {
    std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default()
}

/// With 1, the memory of a process that has just become another user's is open to that user. In a sandbox that would be a
/// copy of the agent's.
fn dumpable(suid_dumpable: &str) -> Option<HostProblem> {
    (suid_dumpable.trim() == "1").then(|| {
        HostProblem::new(
            "fs.suid_dumpable is 1, which opens processes that change their user to that user",
            "sysctl -w fs.suid_dumpable=2 (or 0), and the same below /etc/sysctl.d",
        )
    })
}

fn file_systems() -> Option<HostProblem> {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let is_known = |wanted: &str| known.lines().any(|line| line.split_whitespace().last() == Some(wanted));
    let missing: Vec<_> =
        ["overlay", "ext4", "tmpfs", "devpts"].into_iter().filter(|name| !is_known(name)).collect();
    (!missing.is_empty()).then(|| {
        HostProblem::new(
            format!("the kernel does not offer {}", missing.join(", ")),
            "load the modules: modprobe overlay ext4",
        )
    })
}

fn loop_devices() -> Option<HostProblem> {
    (!Path::new("/dev/loop-control").exists()).then(|| {
        HostProblem::new(
            "there are no loop devices",
            "modprobe loop; in a container give it /dev/loop-control and the loop devices",
        )
    })
}

fn mkfs() -> Option<HostProblem> {
    let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        .into_iter()
        .any(|dir| Path::new(dir).join("mkfs.ext4").exists());
    (!found).then(|| HostProblem::new("mkfs.ext4 is missing", "install e2fsprogs"))
}

fn control_groups(options: &CgroupOptions) -> Option<HostProblem> {
    Cgroups::probe(options).err().map(|error| {
        let fix = match error {
            CgroupError::ControllerMissing(Controller::Io) => {
                "limit no disk ([sandbox] disk_read_mb_per_s and disk_write_mb_per_s at 0), or mount control groups \
                 with it, in version 1 as a whole and not as a container sees them"
            }
            _ => "mount them, with the cpu, memory and pids controllers; in a container run it privileged",
        };
        HostProblem::new(format!("control groups cannot be used: {error}"), fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_processes_that_change_their_user_must_be_closed() {
        let problem = dumpable("1\n").unwrap();
        assert!(problem.to_string().contains("sysctl -w fs.suid_dumpable=2"), "{problem}");
        for fine in ["0\n", "2\n", ""] {
            assert_eq!(dumpable(fine), None);
        }
    }
}
