//! A parent group of a test's own on this host, and processes in its sets.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandscope_cgroup::{CgroupOptions, CgroupSet, Cgroups, Controller, Hierarchy, Limits, Version};

/// Much longer than anything takes, also where many others want the processors.
pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const LIMITS: Limits = Limits { cpu_count: 1, memory_bytes: 64 << 20, pids_max: 32 };

/// A parent group of this test's own, removed at its end.
pub(crate) struct Host {
    cgroups: Option<Cgroups>,
}

/// Which of the host's hierarchies are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    AsMounted,
    /// As if version 2 were not mounted: its freezer, its kill and its CPU time have to come from elsewhere.
    VersionOneOnly,
}

impl Host {
    /// `None`, loudly, where the kernel or the user's rights do not allow it.
    pub(crate) fn of(test: &str, kind: Kind) -> Option<Self> {
        let parent = PathBuf::from(format!("sandscope-{test}-{}", std::process::id()));
        let options = CgroupOptions { parent, ..CgroupOptions::default() };
        let mut hierarchies = Hierarchy::read_host().expect("read");
        if kind == Kind::VersionOneOnly {
            let n = hierarchies.len();
            hierarchies.retain(|hierarchy| hierarchy.version == Version::V1);
            let is_complete = hierarchies.iter().any(|one| one.controllers.contains(&Controller::Freezer));
            if hierarchies.len() == n || !is_complete {
                println!("SKIPPED {test}: this host is not a hybrid one");
                return None;
            }
        }
        match Cgroups::open_hierarchies(&hierarchies, &options) {
            Ok(cgroups) => Some(Self { cgroups: Some(cgroups) }),
            Err(error) if !is_root() => {
                println!("SKIPPED {test}: needs root ({error})");
                None
            }
            Err(error) => panic!("cannot use control groups: {error}"),
        }
    }

    pub(crate) fn cgroups(&self) -> &Cgroups {
        self.cgroups.as_ref().expect("until dropped")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let cgroups = self.cgroups.take().expect("dropped once");
        for name in cgroups.list().expect("listed") {
            if let Some(set) = cgroups.open_set(&name).expect("opened") {
                set.kill_all().expect("killed");
                set.remove(SOON).expect("removed");
            }
        }
        cgroups.remove_parents().expect("empty");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a shell that first moves itself into the set, as a sandbox's first process does.
pub(crate) fn spawn(set: &CgroupSet, script: &str) -> Child {
    let files = set.join_files().expect("opened");
    let joins: String = files.iter().map(|file| format!("echo 0 > {}\n", file.path.display())).collect();
    Command::new("sh")
        .args(["-ec", &format!("{joins} echo joined\n {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

pub(crate) fn wait_joined(child: &mut Child) {
    let mut line = [0_u8; 7];
    child.stdout.as_mut().expect("piped").read_exact(&mut line).expect("joined");
    assert_eq!(&line, b"joined\n");
}

pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Each test with the hierarchies as they are mounted, and as if version 2 were not.
macro_rules! on_both_kinds {
    ($($test:ident,)*) => {
        mod as_mounted {
            $(#[test]
            fn $test() {
                crate::support::run(crate::support::Kind::AsMounted, stringify!($test), super::$test);
            })*
        }

        mod version_one_only {
            $(#[test]
            fn $test() {
                crate::support::run(crate::support::Kind::VersionOneOnly, stringify!($test), super::$test);
            })*
        }
    };
}

pub(crate) fn run(kind: Kind, name: &str, test: fn(&Host)) {
    if let Some(host) = Host::of(name, kind) {
        test(&host);
    }
}
