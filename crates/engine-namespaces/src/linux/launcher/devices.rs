//! `/dev` of a sandbox, made on the host's side: only there may anybody make device nodes.
//!
//! The nodes are the sandbox's own. Shared ones would tell whoever watches them when anybody else opens them, and show
//! when they were last used.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::linux::protocol::{Failure, InStep as _};

/// By name and number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const EVERYBODY: Mode = Mode::from_raw_mode(0o666);
/// The group of terminals, as in the sandbox's `/etc/group`.
const TTY: u32 = 5;

/// A file system with nothing but devices, for the sandbox whose root is `uid_base` on the host.
pub(super) fn make(uid_base: u32) -> Result<OwnedFd, Failure> {
    let mount = || -> rustix::io::Result<OwnedFd> {
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let owner = uid_base.to_string();
        for (key, value) in
            [("mode", "755"), ("size", "64k"), ("nr_inodes", "512"), ("uid", &owner), ("gid", &owner)]
        {
            rustix::mount::fsconfig_set_string(&context, key, value)?;
        }
        rustix::mount::fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let mounted = mount().step("mount /dev")?;
    for (name, major, minor) in DEVICES {
        let group = if name == "tty" { uid_base + TTY } else { uid_base };
        let make = || -> rustix::io::Result<()> {
            let number = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(&mounted, name, FileType::CharacterDevice, EVERYBODY, number)?;
            // Whatever this process's habit is.
            rustix::fs::chmodat(&mounted, name, EVERYBODY, AtFlags::empty())?;
            let (user, group) = (Uid::from_raw(uid_base), Gid::from_raw(group));
            rustix::fs::chownat(&mounted, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        };
        make().step("make a device")?;
    }
    Ok(mounted)
}
