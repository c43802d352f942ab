//! What sandboxes leave below the state directory and in the kernel, and to which sandbox it belongs.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sandscope_model::{BuildId, SandboxId};

use super::handles::{Shown, shown};
use super::layout::Layout;
use super::removal::remove_whole;
use super::trace::Trace;
use super::{disk, sys};

/// Sandboxes in somebody's hands, and by what else their traces are known.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) ids: HashSet<SandboxId>,
    /// Their disks, by inode: the kernel's name of a loop device's file says nothing.
    images: HashSet<u64>,
}

impl Held {
    /// Notes the disks on the shelf. They come before those of sandboxes: a disk may go from there to here meanwhile.
    pub(super) fn of_shelf(layout: &Layout) -> Self {
        let dirs = std::fs::read_dir(layout.warm_dir()).into_iter().flatten().filter_map(Result::ok);
        Self { ids: HashSet::new(), images: dirs.filter_map(|dir| image_in(&dir.path())).collect() }
    }

    /// Adds sandboxes, with their disks as they are now.
    pub(super) fn add(&mut self, ids: impl IntoIterator<Item = SandboxId>, layout: &Layout) {
        for id in ids {
            self.images.extend(image_in(&layout.sandbox_dir(&id)));
            self.ids.insert(id);
        }
    }
}

fn image_in(dir: &Path) -> Option<u64> {
    std::fs::metadata(dir.join(disk::IMAGE_FILE)).ok().map(|image| image.ino())
}

/// Whether `trace` is one of `held`.
pub(super) fn belongs_to(trace: &Trace, layout: &Layout, held: &Held) -> bool {
    // What is on the shelf is nobody's on purpose; a start sweeps what a killed server left there.
    let is_held = |path: &Path| {
        path.starts_with(layout.warm_dir()) || owner(path, layout).is_some_and(|id| held.ids.contains(&id))
    };
    match trace {
        Trace::ControlGroups(id) | Trace::Directory(id) => held.ids.contains(id),
        Trace::LoopDevice(number) => {
            let shows_held = || matches!(sys::backing_inode(*number), Ok(Some((_, inode))) if held.images.contains(&inode));
            // Versions before attached images by their own names.
            backing_file(*number).is_none_or(|file| is_held(&file)) || shows_held()
        }
        Trace::Mount(path) | Trace::Trash(path) => is_held(path),
    }
}

/// The sandbox whose directory `path` is in, also once that has been thrown away (`trash/<id>-<n>`).
fn owner(path: &Path, layout: &Layout) -> Option<SandboxId> {
    let of = |dir: PathBuf| {
        let first = path.strip_prefix(dir).ok()?.components().next()?.as_os_str().to_str()?;
        first.split('-').next()?.parse().ok()
    };
    of(layout.sandboxes_dir()).or_else(|| of(layout.trash_dir()))
}

/// Everything below the state directory that a sandbox leaves, whosesoever it is.
pub(super) fn strays_below(layout: &Layout) -> io::Result<Vec<Trace>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(layout.sandboxes_dir())? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Trace::Directory));
    }
    for entry in std::fs::read_dir(layout.trash_dir())? {
        found.push(Trace::Trash(entry?.path()));
    }
    for number in loop_numbers()? {
        let is_ours = backing_file(number).is_some_and(|file| layout.holds(&file));
        found.extend(is_ours.then_some(Trace::LoopDevice(number)));
    }
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let points = mounts.split(|byte| *byte == b'\n').filter_map(mount_point);
    found.extend(points.filter(|point| layout.holds(point)).map(Trace::Mount));
    Ok(found)
}

/// The captured layers.
pub(super) fn layers(layout: &Layout) -> io::Result<Vec<BuildId>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(layout.snapshots_dir())? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("ext4")) {
            found.extend(
                path.file_stem().and_then(OsStr::to_str).and_then(|name| name.parse::<BuildId>().ok()),
            );
        }
    }
    Ok(found)
}

/// Removes one that is no sandbox's control groups or directory. What is not ours, or no more, is left alone.
pub(super) fn remove(trace: &Trace, layout: &Layout) -> io::Result<()> {
    match trace {
        Trace::ControlGroups(_) | Trace::Directory(_) => Ok(()),
        // Numbers pass on: only one that still shows a file of ours is detached.
        Trace::LoopDevice(number) => match backing_file(*number) {
            Some(file) if layout.holds(&file) => {
                disk::thaw_loop(*number);
                sys::detach_loop(*number)
            }
            _ => Ok(()),
        },
        Trace::Mount(path) if layout.holds(path) => unmount(path),
        Trace::Trash(path) if path.parent() == Some(&layout.trash_dir()) => remove_any(path),
        Trace::Mount(_) | Trace::Trash(_) => Ok(()),
    }
}

fn loop_numbers() -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block")? {
        let name = entry?.file_name();
        found.extend(
            name.to_str().and_then(|name| name.strip_prefix("loop")).and_then(|n| n.parse::<u32>().ok()),
        );
    }
    Ok(found)
}

/// The file a loop device shows, if it shows one, also where it has been removed.
fn backing_file(number: u32) -> Option<PathBuf> {
    sys::backing_file(number).map(|(file, _)| file)
}

/// Whether a loop device shows the image in `dir`.
pub(super) fn is_shown_from(dir: &Path) -> bool {
    let image = dir.join(disk::IMAGE_FILE);
    let numbers = loop_numbers().unwrap_or_default();
    numbers.into_iter().any(|number| matches!(shown(number, &image), Ok(Shown::This)))
}

/// Where the mount of a line of `mountinfo` is. Paths with blanks are written with escapes; ours with them are missed.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    line.split(|byte| *byte == b' ').nth(4).map(|point| PathBuf::from(OsStr::from_bytes(point)))
}

fn unmount(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        outcome => outcome.map_err(io::Error::from),
    }
}

fn remove_any(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => remove_whole(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_the_fifth_field() {
        let line = b"36 35 98:0 /mnt1 /state/sandboxes rw,noatime master:1 - ext4 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/state/sandboxes")));
        assert_eq!(mount_point(b""), None);
    }
}
