//! What one server's sandboxes may leave on the host, of every kind: processes, descriptors, mounts, control groups,
//! namespaces, loop devices. Other servers may run at the same time, so only what bears a name of this one counts:
//! its data directory, its sandboxes, and the namespaces they were seen in.
//!
//! ```text
//! data/sandboxes, data/warm ──inotify──► names ─┬─► /proc/*/cgroup ─► processes ─► their namespaces
//!                                               └─► control groups
//! data ────────────────────────────────────────────► mounts, loop devices, descriptors of any process
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// Directories of a data directory whose entries are named after sandboxes, or after their control groups.
const NAMED: [&str; 2] = ["sandboxes", "warm"];

/// Kinds of namespaces a sandbox has of its own.
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// The names a server's sandboxes had, from its start on.
#[derive(Debug)]
pub(crate) struct Trail {
    data: PathBuf,
    inotify: OwnedFd,
    names: BTreeSet<String>,
    /// Seen in use by its sandboxes, `net:[4026535544]`, and when last, in ticks since the host started: the kernel
    /// gives the numbers away again.
    namespaces: BTreeMap<String, u64>,
}

impl Trail {
    /// From here on; `data` is a server's that has just started.
    pub(crate) fn follow(data: &Path) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("inotify")?;
        let mut names = BTreeSet::new();
        for directory in NAMED.map(|name| data.join(name)) {
            let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            inotify::add_watch(&inotify, &directory, flags)
                .with_context(|| format!("cannot watch {}", directory.display()))?;
            let there = fs::read_dir(&directory).into_iter().flatten().flatten();
            names.extend(there.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        }
        Ok(Self { data: data.to_owned(), inotify, names, namespaces: BTreeMap::new() })
    }

    /// Learns the names of what was made since the last look, and the namespaces of what lives now.
    pub(crate) fn look(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            self.names.extend(name.filter(|name| !name.is_empty()));
        }
        let own = namespaces("self");
        let now = ticks();
        for pid in pids().filter(|pid| self.is_of_a_sandbox(pid)).collect::<Vec<_>>() {
            self.namespaces.extend(namespaces(&pid).difference(&own).map(|one| (one.clone(), now)));
        }
    }

    /// Whatever is still there now.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let own = std::process::id().to_string();
        for pid in pids().filter(|pid| *pid != own) {
            let command = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if self.is_of_a_sandbox(&pid) || command().contains(&*self.data.to_string_lossy()) {
                left.push(format!("process {pid}: {}", command().replace('\0', " ")));
            }
            let held = links(&format!("/proc/{pid}/fd")).into_iter();
            let held = held.filter(|target| target.contains(&*self.data.to_string_lossy()));
            left.extend(held.map(|target| format!("descriptor of process {pid}: {target}")));
        }
        for (namespace, holder, since) in held_namespaces() {
            if self.namespaces.get(&namespace).is_some_and(|seen| since <= *seen) {
                left.push(format!("namespace {namespace}, held by {holder}"));
            }
        }
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = table.lines().filter(|line| line.contains(&*self.data.to_string_lossy()));
        left.extend(ours.map(|line| format!("mount {line}")));
        for (device, file) in crate::leftovers::loop_devices() {
            if file.contains(&*self.data.to_string_lossy()) {
                left.push(format!("loop device {device}: {file}"));
            }
        }
        let mut groups = BTreeSet::new();
        crate::leftovers::groups_below(Path::new("/sys/fs/cgroup"), 6, &mut groups);
        let is_ours = |path: &&String| path.rsplit('/').next().is_some_and(|name| self.has_group(name));
        left.extend(groups.iter().filter(is_ours).map(|path| format!("control group {path}")));
        left
    }

    /// Sandboxes that were followed.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    fn is_of_a_sandbox(&self, pid: &str) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups
            .lines()
            .filter_map(|line| line.split("/sandscope/").nth(1)?.split('/').next())
            .any(|name| self.has_group(name))
    }

    /// Whether a control group is one of its sandboxes'. Groups bear the server's own mark before the sandbox's name.
    fn has_group(&self, group: &str) -> bool {
        let sandbox = group.rsplit('-').next().unwrap_or(group);
        self.names.contains(group) || self.names.contains(sandbox)
    }
}

fn pids() -> impl Iterator<Item = String> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn namespaces(pid: &str) -> BTreeSet<String> {
    let link = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    NAMESPACES.into_iter().filter_map(link).map(|target| target.to_string_lossy().into_owned()).collect()
}

fn links(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        .collect()
}

/// Now, in ticks since the host started.
fn ticks() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let (whole, hundredths) =
        uptime.split_whitespace().next().and_then(|text| text.split_once('.')).unwrap_or_default();
    whole.parse::<u64>().unwrap_or_default() * 100 + hundredths.parse::<u64>().unwrap_or_default()
}

/// When a process started, in the same measure.
fn started(pid: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself contain anything.
    stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()
}

/// Every namespace on the host that a process is in or a mount pins, who that is, and since when at the earliest.
/// Descriptors are not looked at: only processes of the server could have opened one, and those are asked for
/// themselves.
fn held_namespaces() -> Vec<(String, String, u64)> {
    let mut held = Vec::new();
    for pid in pids() {
        let Some(since) = started(&pid) else { continue };
        held.extend(namespaces(&pid).into_iter().map(|one| (one, format!("process {pid}"), since)));
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in table.lines().filter(|line| line.contains(" - nsfs ")) {
        let mut fields = line.split(' ').skip(3);
        if let (Some(root), Some(point)) = (fields.next(), fields.next()) {
            held.push((root.to_owned(), format!("the mount at {point}"), 0));
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_holds_something_of_the_server_is_found() {
        let data = std::env::temp_dir().join(format!("sandscope-trail-{}", std::process::id()));
        for name in NAMED {
            fs::create_dir_all(data.join(name)).unwrap();
        }
        fs::create_dir(data.join("warm/already-there")).unwrap();
        let mut trail = Trail::follow(&data).unwrap();
        assert_eq!((trail.len(), trail.left()), (1, Vec::new()));
        fs::create_dir(data.join("sandboxes/new")).unwrap();
        fs::create_dir(data.join("aside")).unwrap();
        fs::rename(data.join("aside"), data.join("sandboxes/moved")).unwrap();
        trail.look();
        assert_eq!(trail.names, ["already-there", "moved", "new"].map(str::to_owned).into());
        assert!(["new", "0a1b-new", "already-there"].into_iter().all(|group| trail.has_group(group)));
        assert!(["old", "0a1b-old", "new-old"].into_iter().all(|group| !trail.has_group(group)));

        let file = fs::File::create(data.join("file")).unwrap();
        let mut holder = Command::new("sleep").arg("600").stdin(Stdio::from(file)).spawn().unwrap();
        let left = trail.left();
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].starts_with(&format!("descriptor of process {}:", holder.id())), "{left:?}");
        assert_eq!(trail.left(), Vec::<String>::new());
        fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn the_namespaces_in_use_are_known_by_their_holders() {
        let (held, now) = (held_namespaces(), ticks());
        let own = format!("process {}", std::process::id());
        for namespace in namespaces("self") {
            let ours = held.iter().find(|(one, holder, _)| (one, holder) == (&namespace, &own));
            let (_, _, since) = ours.unwrap_or_else(|| panic!("{namespace} is not in {held:?}"));
            assert!((1..=now).contains(since), "{since} {now}");
        }
    }
}
