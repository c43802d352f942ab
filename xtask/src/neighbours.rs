//! Other servers of this host: whatever their sandboxes come to while tests run is no leftover of the tests.
//!
//! ```text
//! before: processes that hold a server.lock, images behind loop devices ─► data directories
//! after:  those directories ─► their sandboxes' control groups ─► their processes
//!                          └─► their loop devices, descriptors, mounts
//! ```
//!
//! What a directory says is read again afterwards: a neighbour goes on making sandboxes. One that came after the tests
//! began is not known, for nothing tells it from a server that a test forgot.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The file of a data directory that its server holds.
const LOCK: &str = "server.lock";
/// Directories of a data directory whose entries are sandboxes.
const SANDBOXES: [&str; 3] = ["sandboxes", "warm", "trash"];
/// From a disk's image up to its data directory.
const UP_TO_DATA: usize = 3;

/// The data directories of servers that are not the tests'.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    directories: BTreeSet<PathBuf>,
}

/// What belongs to them now.
#[derive(Debug, Default)]
pub(crate) struct Belongings {
    directories: BTreeSet<PathBuf>,
    /// Names of control groups.
    groups: BTreeSet<String>,
    /// What those names begin with.
    owners: BTreeSet<String>,
    servers: BTreeSet<String>,
}

impl Neighbours {
    /// Those that are there now.
    pub(crate) fn look(images: &[String]) -> Self {
        let held = pids().into_iter().flat_map(|pid| descriptors(&pid));
        let locked = held.filter(|file| file.file_name().is_some_and(|name| name == LOCK));
        let mut directories: BTreeSet<PathBuf> =
            locked.filter_map(|lock| lock.parent().map(Path::to_owned)).collect();
        directories.extend(images.iter().filter_map(|image| data_of(Path::new(image))));
        Self { directories }
    }

    /// What they own by now.
    pub(crate) fn belongings(&self) -> Belongings {
        let mut found = Belongings { directories: self.directories.clone(), ..Belongings::default() };
        for entry in self.directories.iter().flat_map(|data| entries(&data.join("sandboxes"))) {
            let record = fs::read(entry.join("sandbox.json")).unwrap_or_default();
            let record: Value = serde_json::from_slice(&record).unwrap_or_default();
            found.groups.extend(record["cgroup_name"].as_str().map(str::to_owned));
        }
        let warm = self.directories.iter().flat_map(|data| entries(&data.join("warm")));
        found.groups.extend(warm.filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned())));
        found.owners =
            found.groups.iter().filter_map(|name| Some(name.split_once('-')?.0.to_owned())).collect();
        let is_server = |pid: &String| {
            descriptors(pid).iter().any(|file| {
                file.file_name().is_some_and(|name| name == LOCK)
                    && file.parent().is_some_and(|data| self.directories.contains(data))
            })
        };
        found.servers = pids().into_iter().filter(is_server).collect();
        found
    }
}

impl Belongings {
    /// Whether a control group, by the last part of its path, is one of theirs.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.groups.contains(name)
            || name.split_once('-').is_some_and(|(owner, _)| self.owners.contains(owner))
    }

    /// Whether a file or a mount point lies in one of their directories.
    pub(crate) fn has_path(&self, path: &Path) -> bool {
        self.directories.iter().any(|directory| path.starts_with(directory))
    }

    /// Whether a process is one of their sandboxes', or what makes and watches them.
    pub(crate) fn has_process(&self, pid: &str) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        groups.lines().filter_map(|line| line.rsplit('/').next()).any(|name| self.has_group(name))
            || parent.is_some_and(|parent| self.servers.contains(parent))
            || descriptors(pid).iter().any(|file| self.has_path(file))
    }
}

/// The data directory of the sandbox whose disk `image` is, by the passing name that it was attached by, or its own.
fn data_of(image: &Path) -> Option<PathBuf> {
    if let Some(dir) = image.parent().filter(|dir| dir.ends_with("disks")) {
        return dir.parent().map(Path::to_owned);
    }
    let data = image.ancestors().nth(UP_TO_DATA)?;
    let below = image.strip_prefix(data).ok()?;
    let is_sandboxes = SANDBOXES.iter().any(|name| below.starts_with(name));
    (is_sandboxes && image.file_name()? == "disk.ext4").then(|| data.to_owned())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn pids() -> Vec<String> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// The files a process holds.
fn descriptors(pid: &str) -> Vec<PathBuf> {
    let held = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    held.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_neighbour_makes_meanwhile_is_its_own() {
        let data = std::env::temp_dir().join(format!("sandscope-neighbour-{}", std::process::id()));
        for name in SANDBOXES {
            fs::create_dir_all(data.join(name)).unwrap();
        }
        let lock = fs::File::create(data.join(LOCK)).unwrap();
        let mut server = Command::new("sleep").arg("600").stdin(Stdio::from(lock)).spawn().unwrap();
        let images = ["/gone/sandboxes/i1/disk.ext4", "/new/disks/0a1b (deleted)", "/x"];
        let neighbours = Neighbours::look(&images.map(str::to_owned));
        assert!(neighbours.directories.contains(Path::new("/new")));
        assert!(
            neighbours.directories.contains(&data) && neighbours.directories.contains(Path::new("/gone"))
        );
        assert!(!neighbours.directories.contains(Path::new("/")));

        let before = neighbours.belongings();
        assert!(!before.has_group("0a1b-i2") && !before.has_group("i3"));
        for (id, group) in [("i2", "0a1b-i2"), ("i3", "i3")] {
            fs::create_dir(data.join("sandboxes").join(id)).unwrap();
            let record = data.join("sandboxes").join(id).join("sandbox.json");
            fs::write(record, format!("{{\"cgroup_name\":\"{group}\"}}")).unwrap();
        }
        let after = neighbours.belongings();
        // Half made, as far as the directory says.
        assert!(["0a1b-i2", "0a1b-i4", "i3"].iter().all(|group| after.has_group(group)));
        assert!(["0a1c-i2", "i4", "0a1b"].iter().all(|group| !after.has_group(group)));
        assert!(after.has_path(&data.join("sandboxes/i2/disk.ext4")) && !after.has_path(Path::new("/tmp")));
        assert!(after.has_process(&server.id().to_string()), "it holds the lock");
        assert!(!after.has_process(&std::process::id().to_string()));
        server.kill().unwrap();
        server.wait().unwrap();
        fs::remove_dir_all(&data).unwrap();
    }
}
