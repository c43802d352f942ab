//! The mounts a sandbox sees, made by its first process in its own mount namespace.

mod kernel;

pub(super) use kernel::Seen;

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};
use sandscope_host_base::Place;
use sandscope_kernel_pools::Bounds;

use crate::linux::protocol::{Failure, InStep as _};

/// Where the new root is put until it becomes the root: a directory that every host has and nobody inside needs.
const STAGING: &str = "/usr";
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
const LOCKED_DOWN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Moves the prepared file system into place, adds the kernel's own file systems and devices, and leaves the host's
/// tree behind for good.
pub(super) fn enter_root(
    root: &OwnedFd,
    others: &[(String, OwnedFd)],
    view: &OwnedFd,
    groups: &[(Place, Seen)],
    bounds: Bounds,
) -> Result<(), Failure> {
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .step("make mounts private")?;
    attach(root, STAGING).step("attach the root")?;
    std::env::set_current_dir(STAGING).step("enter the new root")?;
    for (name, mount) in others {
        attach(mount, name).step("attach the base")?;
    }
    kernel::mount(view, groups)?;
    complete_devices(bounds)?;
    let options = super::rootfs::c_path(&bounds.run())?;
    tmpfs("run", LOCKED_DOWN, &options).step("mount /run")?;
    fs::create_dir("run/lock").step("make /run/lock")?;
    rustix::process::pivot_root(".", ".").step("change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("leave the host's tree")?;
    std::env::set_current_dir("/").step("enter the root")
}

fn attach(mount: &OwnedFd, at: &str) -> io::Result<()> {
    Ok(rustix::mount::move_mount(mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn tmpfs(at: &str, flags: MountFlags, options: &CStr) -> io::Result<()> {
    Ok(rustix::mount::mount("tmpfs", at, "tmpfs", flags, options)?)
}

/// Adds to the devices, which are there already, what belongs to the sandbox's namespaces.
fn complete_devices(bounds: Bounds) -> Result<(), Failure> {
    let no_exec = MountFlags::NOSUID | MountFlags::NOEXEC;
    for (name, target) in DEVICE_LINKS {
        std::os::unix::fs::symlink(target, format!("dev/{name}")).step("link a device")?;
    }
    for dir in ["dev/pts", "dev/shm", "dev/mqueue"] {
        fs::create_dir(dir).step("make a directory of /dev")?;
    }
    // The kernel has one pool of terminals for all instances (4096, unless changed): nobody may empty it.
    let options = c"newinstance,ptmxmode=0666,mode=0620,gid=5,max=256";
    rustix::mount::mount("devpts", "dev/pts", "devpts", no_exec, options).step("mount /dev/pts")?;
    rustix::mount::mount("mqueue", "dev/mqueue", "mqueue", LOCKED_DOWN, None::<&CStr>)
        .step("mount /dev/mqueue")?;
    let options = super::rootfs::c_path(&bounds.dev_shm())?;
    tmpfs("dev/shm", LOCKED_DOWN, &options).step("mount /dev/shm")
}
