//! What is on the host, and what of it belongs to nothing.
//!
//! A sandbox in the making or on its way out has traces of which the runtime holds nothing: such ids are *busy*, and
//! what carries one is left out. The kernel lets go of some things a moment late, so whoever removes strays should
//! have seen them twice.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sandscope_model::{BuildId, SandboxId};

use super::layout::Layout;
use super::recover::thaw_loop;
use super::remove::remove_whole;
use super::runtime::{Shared, blocking, step};
use super::sandbox::cgroup_step;
use super::sys;
use crate::{RuntimeError, Stray, Survey};

/// Ids somebody is working on.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<Mutex<HashMap<SandboxId, usize>>>);

/// Somebody is working on this id until this is dropped.
#[derive(Debug)]
pub(super) struct BusyWith {
    busy: Busy,
    id: SandboxId,
}

impl Busy {
    pub(super) fn with(&self, id: &SandboxId) -> BusyWith {
        *self.lock().entry(id.clone()).or_default() += 1;
        BusyWith { busy: self.clone(), id: id.clone() }
    }

    pub(super) fn has(&self, id: &SandboxId) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BusyWith {
    fn drop(&mut self) {
        let mut busy = self.busy.lock();
        if let Some(n) = busy.get_mut(&self.id) {
            *n -= 1;
            if *n == 0 {
                busy.remove(&self.id);
            }
        }
    }
}

impl Shared {
    pub(super) async fn survey(self: &Arc<Self>) -> Result<Survey, RuntimeError> {
        let shared = Arc::clone(self);
        blocking("survey the host", move || {
            // Before looking: what is made or removed meanwhile must not seem to belong to nothing.
            let sandboxes: Vec<SandboxId> = shared.sandboxes().keys().cloned().collect();
            let mut held: HashSet<SandboxId> = sandboxes.iter().cloned().collect();
            let busy_before: Vec<SandboxId> = shared.busy.lock().keys().cloned().collect();
            held.extend(busy_before);
            let names = shared.cgroups.list().map_err(cgroup_step("list control groups"))?;
            let groups = names.into_iter().filter_map(|name| name.parse().ok());
            let mut strays: Vec<Stray> = groups.map(Stray::ControlGroups).collect();
            strays.extend(strays_below(&shared.layout).map_err(step("survey the state directory"))?);
            // Again: it may have begun while we looked.
            held.extend(shared.sandboxes().keys().cloned());
            let busy_now: Vec<SandboxId> = shared.busy.lock().keys().cloned().collect();
            held.extend(busy_now);
            strays.retain(|stray| !belongs_to(stray, &shared.layout, &held));
            let layers = layers(&shared.layout).map_err(step("list captured layers"))?;
            Ok(Survey { sandboxes, layers, strays })
        })
        .await
    }

    pub(super) async fn remove_stray(self: &Arc<Self>, stray: &Stray) -> Result<(), RuntimeError> {
        if let Stray::ControlGroups(id) | Stray::Directory(id) = stray {
            let is_held = self.sandbox(id).is_some() || self.busy.has(id);
            if !is_held {
                self.remove_remains(id).await;
            }
            return Ok(());
        }
        let (shared, stray) = (Arc::clone(self), stray.clone());
        blocking("remove what is left behind", move || {
            let layout = &shared.layout;
            let removed = match &stray {
                Stray::ControlGroups(_) | Stray::Directory(_) => Ok(()),
                // Numbers pass on: only one that still shows a file of ours is detached.
                Stray::LoopDevice(number) => match backing_file(*number) {
                    Some(file) if file.starts_with(layout.root()) => {
                        thaw_loop(*number);
                        sys::detach_loop(*number)
                    }
                    _ => Ok(()),
                },
                Stray::Mount(path) if path.starts_with(layout.root()) => unmount(path),
                Stray::Trash(path) if path.parent() == Some(&layout.trash_dir()) => remove_any(path),
                Stray::Mount(_) | Stray::Trash(_) => Ok(()),
            };
            removed.map_err(step("remove what is left behind"))
        })
        .await
    }
}

/// Whether `stray` is a trace of one of `held`.
pub(super) fn belongs_to(stray: &Stray, layout: &Layout, held: &HashSet<SandboxId>) -> bool {
    // What stands on the shelf is nobody's on purpose; a start sweeps what a killed server left there.
    let is_held = |path: &Path| {
        path.starts_with(layout.warm_dir()) || owner(path, layout).is_some_and(|id| held.contains(&id))
    };
    match stray {
        Stray::ControlGroups(id) | Stray::Directory(id) => held.contains(id),
        Stray::LoopDevice(number) => backing_file(*number).is_none_or(|file| is_held(&file)),
        Stray::Mount(path) | Stray::Trash(path) => is_held(path),
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
pub(super) fn strays_below(layout: &Layout) -> io::Result<Vec<Stray>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(layout.sandboxes_dir())? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Stray::Directory));
    }
    for entry in std::fs::read_dir(layout.trash_dir())? {
        found.push(Stray::Trash(entry?.path()));
    }
    for number in loop_numbers()? {
        let is_ours = backing_file(number).is_some_and(|file| file.starts_with(layout.root()));
        found.extend(is_ours.then_some(Stray::LoopDevice(number)));
    }
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let points = mounts.split(|byte| *byte == b'\n').filter_map(mount_point);
    // The directory itself may well be a mount point.
    let is_inside = |point: &PathBuf| point.starts_with(layout.root()) && point != layout.root();
    found.extend(points.filter(is_inside).map(Stray::Mount));
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

/// The file a loop device shows, if it shows one; without the kernel's note that it was deleted.
fn backing_file(number: u32) -> Option<PathBuf> {
    let mut text = std::fs::read(format!("/sys/block/loop{number}/loop/backing_file")).ok()?;
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    let file = text.strip_suffix(b" (deleted)").unwrap_or(&text);
    Some(PathBuf::from(OsStr::from_bytes(file)))
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
    fn an_id_is_busy_until_everybody_is_done_with_it() {
        let busy = Busy::default();
        let id: SandboxId = "i0123456789abcdefghij".parse().unwrap();
        let (first, second) = (busy.with(&id), busy.with(&id));
        drop(first);
        assert!(busy.lock().contains_key(&id));
        drop(second);
        assert!(!busy.lock().contains_key(&id));
    }

    #[test]
    fn the_mount_point_is_the_fifth_field() {
        let line = b"36 35 98:0 /mnt1 /state/sandboxes rw,noatime master:1 - ext4 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/state/sandboxes")));
        assert_eq!(mount_point(b""), None);
    }
}
