//! The mounts a sandbox sees, made by its first process in its own mount namespace.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};

use crate::linux::protocol::{Failure, InStep as _};
use crate::linux::sys::{
    self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MountAttributes,
};

/// Where the new root is put until it becomes the root: a directory that every host has and nobody inside needs.
const STAGING: &str = "/usr";
/// Device nodes taken over from the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// What `/proc` and `/sys` reveal about the host or let one do to it.
const MASKED_FILES: [&str; 11] = [
    "proc/kcore",
    "proc/keys",
    "proc/key-users",
    "proc/timer_list",
    "proc/sched_debug",
    "proc/kallsyms",
    "proc/latency_stats",
    "proc/kmsg",
    "proc/sysrq-trigger",
    "sys/kernel/notes",
    "sys/kernel/vmcoreinfo",
];
const MASKED_DIRS: [&str; 9] = [
    "proc/acpi",
    "proc/scsi",
    "proc/asound",
    "sys/firmware",
    "sys/kernel/security",
    "sys/kernel/debug",
    "sys/kernel/tracing",
    "sys/fs/cgroup",
    "sys/module",
];
const READ_ONLY_DIRS: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/pressure", "proc/sys"];

const LOCKED_DOWN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Moves the prepared file system into place, adds the kernel's own file systems and devices, and leaves the host's
/// tree behind for good.
pub(super) fn enter_root(root: &OwnedFd, others: &[(String, OwnedFd)], shm_mb: u32) -> Result<(), Failure> {
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .step("make mounts private")?;
    attach(root, STAGING).step("attach the root")?;
    std::env::set_current_dir(STAGING).step("enter the new root")?;
    for (name, mount) in others {
        attach(mount, name).step("attach the base")?;
    }
    mount_kernel_file_systems()?;
    make_devices(shm_mb)?;
    // What lies in memory file systems cannot be killed when memory runs out: together they never take all of it.
    let options = super::rootfs::c_path(&format!("mode=755,size={}m", (shm_mb / 4).clamp(1, 64)))?;
    tmpfs("run", LOCKED_DOWN, &options).step("mount /run")?;
    fs::create_dir("run/lock").step("make /run/lock")?;
    mask().step("mask the host's")?;
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

fn mount_kernel_file_systems() -> Result<(), Failure> {
    rustix::mount::mount("proc", "proc", "proc", LOCKED_DOWN, None::<&CStr>).step("mount /proc")?;
    let read_only = LOCKED_DOWN | MountFlags::RDONLY;
    rustix::mount::mount("sysfs", "sys", "sysfs", read_only, None::<&CStr>)
        .map_err(io::Error::from)
        // Inside some containers the kernel refuses; without it programs still run.
        .or_else(|_| tmpfs("sys", read_only, c"mode=755,size=0"))
        .step("mount /sys")
}

fn make_devices(shm_mb: u32) -> Result<(), Failure> {
    let no_exec = MountFlags::NOSUID | MountFlags::NOEXEC;
    tmpfs("dev", no_exec, c"mode=755,size=64k").step("mount /dev")?;
    for name in DEVICES {
        let at = format!("dev/{name}");
        File::create(&at).step("make a device")?;
        rustix::mount::mount_bind(format!("/dev/{name}"), &at).step("bind a device")?;
    }
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
    let options = super::rootfs::c_path(&format!("mode=1777,size={shm_mb}m"))?;
    tmpfs("dev/shm", LOCKED_DOWN, &options).step("mount /dev/shm")
}

fn mask() -> io::Result<()> {
    for file in MASKED_FILES.into_iter().filter(|file| Path::new(file).exists()) {
        rustix::mount::mount_bind("dev/null", file)?;
    }
    for dir in MASKED_DIRS.into_iter().filter(|dir| Path::new(dir).is_dir()) {
        tmpfs(dir, LOCKED_DOWN | MountFlags::RDONLY, c"mode=755,size=0")?;
    }
    let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    for dir in READ_ONLY_DIRS.into_iter().filter(|dir| Path::new(dir).is_dir()) {
        rustix::mount::mount_bind(dir, dir)?;
        let opened = File::open(dir)?;
        sys::set_mount_attributes(
            opened.as_fd(),
            c"",
            MountAttributes { set, ..MountAttributes::default() },
        )?;
    }
    Ok(())
}
