//! `/proc` and `/sys` of a sandbox: of the kernel's own only what is listed here, files of ours for some of the rest,
//! and nothing for all others, also for those of a later kernel.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags};
use sandscope_host_base::{NOTHING, NOTHING_DIR, Place, SHOWN_SETTINGS};
use sandscope_proc_view::{BOOT_ID, CPUS};

use super::{LOCKED_DOWN, attach};
use crate::linux::protocol::{Failure, InStep as _};
use crate::linux::sys::{
    self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MountAttributes,
};

/// What of `/proc` beside the processes is the kernel's own: it speaks of the reader's namespaces, or is the same on
/// every host with this kernel.
const KEPT: [&str; 8] =
    ["self", "thread-self", "mounts", "net", "sysvipc", "uptime", "filesystems", "version"];
/// What of `/sys` is: the interfaces of the sandbox's own network.
const INTERFACES: [&str; 2] = ["sys/class/net", "sys/devices/virtual/net"];

/// Where files are while they are mounted at their places: directories that every root has.
const VIEW: &str = "run";
const OURS: &str = "sys";
const BOOT_ID_AT: &str = "proc/sys/kernel/random/boot_id";

/// What of a hierarchy of control groups is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::linux::launcher) enum Seen {
    /// The sandbox's own group.
    Whole,
    /// Only that it is there: the sandbox has no group of its own in it.
    NameOnly,
}

/// Mounts both, and the control groups that were joined. Relative to the new root, which is not the root yet.
/// `view` has the files that speak of this sandbox alone.
pub(super) fn mount(view: &OwnedFd, groups: &[(Place, Seen)]) -> Result<(), Failure> {
    // What the generated tree has there, before the kernel's is mounted over it.
    let ours = sealed("proc").and_then(|proc| Ok((proc, sealed("sys")?))).step("open the files for /proc")?;
    let (our_proc, our_sys) = ours;
    rustix::mount::mount("proc", "proc", "proc", LOCKED_DOWN, None::<&CStr>).step("mount /proc")?;
    let interfaces = interfaces().step("mount /sys")?;
    let settings = SHOWN_SETTINGS.map(|at| format!("proc/sys/{at}"));
    let shown: Vec<_> = settings.iter().filter_map(|at| Some((at, sealed(at).ok()?))).collect();
    // Only for a moment: what is mounted somewhere can be mounted elsewhere as well.
    let attached = attach(view, VIEW).and_then(|()| Ok([sealed(VIEW)?, sealed(&format!("{VIEW}/{CPUS}"))?]));
    let [view, cpus] = attached.step("show the files for /proc")?;
    rustix::mount::unmount(VIEW, UnmountFlags::DETACH).step("show the files for /proc")?;
    attach(&view, VIEW).and_then(|()| attach(&our_proc, OURS)).step("show the files for /proc")?;
    cover().step("cover the host's")?;
    for (at, mount) in shown {
        attach(&mount, at).step("show a setting")?;
    }
    rustix::mount::mount_bind(format!("{VIEW}/{BOOT_ID}"), BOOT_ID_AT).step("show the boot id")?;
    for at in [VIEW, OURS] {
        rustix::mount::unmount(at, UnmountFlags::DETACH).step("hide the files for /proc")?;
    }
    attach(&our_sys, "sys").step("mount /sys")?;
    attach(&cpus, "sys/devices/system/cpu").step("show the processors")?;
    for (at, mount) in INTERFACES.into_iter().zip(interfaces.iter().flatten()) {
        attach(mount, at).step("mount /sys")?;
    }
    groups.iter().try_for_each(|(place, seen)| mount_group(place, *seen))
}

/// A copy of the mount at `at`, or of a part of it, that nothing can be changed through.
fn sealed(at: &str) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, at, flags)?;
    let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    sys::set_mount_attributes(tree.as_fd(), c"", MountAttributes { set, ..MountAttributes::default() })?;
    Ok(tree)
}

/// Inside some containers the kernel refuses; without it programs still run.
fn interfaces() -> io::Result<Option<[OwnedFd; 2]>> {
    if rustix::mount::mount("sysfs", "sys", "sysfs", LOCKED_DOWN, None::<&CStr>).is_err() {
        return Ok(None);
    }
    let [class, devices] = INTERFACES;
    let opened = sealed(class).and_then(|class| Ok([class, sealed(devices)?]));
    rustix::mount::unmount("sys", UnmountFlags::DETACH)?;
    opened.map(Some)
}

fn cover() -> io::Result<()> {
    // Looking for each by itself would take as long as a third of the mounts.
    let view = names(VIEW)?;
    let ours = names(OURS)?;
    for entry in fs::read_dir("proc")? {
        let (entry, is_process) =
            (entry?, |name: &str| name.starts_with(|first: char| first.is_ascii_digit()));
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let kind = entry.file_type()?;
        // A link says where it leads, and that is seen through it.
        if is_process(name) || KEPT.contains(&name) || kind.is_symlink() {
            continue;
        }
        let nothing = if kind.is_dir() { NOTHING_DIR } else { NOTHING };
        let shown = match name {
            name if view.contains(name) => format!("{VIEW}/{name}"),
            name if ours.contains(name) => format!("{OURS}/{name}"),
            _ => format!("{OURS}/{nothing}"),
        };
        rustix::mount::mount_bind(shown, format!("proc/{name}"))?;
    }
    Ok(())
}

fn names(dir: &str) -> io::Result<HashSet<String>> {
    let mut names = HashSet::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn mount_group(place: &Place, seen: Seen) -> Result<(), Failure> {
    let at = format!("sys/fs/cgroup/{}", place.at);
    let read_only = LOCKED_DOWN | MountFlags::RDONLY;
    let mounted = match &place.controllers {
        Some(controllers) => {
            let options = super::super::rootfs::c_path(controllers)?;
            rustix::mount::mount("cgroup", &at, "cgroup", read_only, options.as_c_str())
        }
        None => rustix::mount::mount("cgroup", &at, "cgroup2", read_only, None::<&CStr>),
    };
    mounted.step("show the control groups")?;
    if seen == Seen::NameOnly {
        super::tmpfs(&at, read_only, c"mode=755,size=4k,nr_inodes=2").step("cover a control group")?;
    }
    Ok(())
}
