//! The root file system, put together on the host's side where the rights to do so are.
//!
//! ```text
//!   /     overlay:  lower = generated skeleton (read-only)   upper = <disk>/root/upper
//!   /usr  overlay:  lower = cover over the host's /usr       upper = <disk>/usr/upper
//!   /bin… overlay:  lower = cover over the host's, read-only, where they are no links into /usr
//! ```
//!
//! Every layer is mounted with the sandbox's id mapping, so that files keep the ids 0-65535 on disk whatever range the
//! sandbox has, and any sandbox can start from any layer. Nothing is ever mounted at a path of the host: all of it
//! goes away with its last user.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use sandscope_host_base::BaseTree;

use crate::linux::protocol::{Failure, InStep as _};
use crate::linux::sys::{self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MountAttributes};

/// Detached mounts, ready to be moved into the sandbox.
pub(super) struct RootFs {
    pub(super) root: OwnedFd,
    /// Where to mount what, below the root.
    pub(super) others: Vec<(String, OwnedFd)>,
    /// The writable layer's file system.
    pub(super) disk: OwnedFd,
}

/// Puts the root file system together. `uid_base` is the host's id of the sandbox's root.
pub(super) fn assemble(
    disk: OwnedFd,
    base: &BaseTree,
    userns: BorrowedFd<'_>,
    uid_base: u32,
) -> Result<RootFs, Failure> {
    idmap(disk.as_fd(), userns, 0).step("map the disk's ids")?;
    let skeleton = mapped_lower(&base.skeleton, userns)?;
    let usr = covered("usr", base, userns)?;
    let mut others = Vec::new();
    // Overlay writes to its upper layer with the mounter's credentials: ids without a mapping there make it
    // read-only, silently. The new mounts are checked below all the same.
    let as_mapped = FilesystemIds::switch_to(uid_base)?;
    let root = overlay(&[skeleton], Some((&disk, "root")))?;
    others.push(("usr".to_owned(), overlay(&usr, Some((&disk, "usr")))?));
    drop(as_mapped);
    for name in &base.binds {
        others.push((name.clone(), overlay(&covered(name, base, userns)?, None)?));
    }
    Ok(RootFs { root, others, disk })
}

fn idmap(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, set: u64) -> std::io::Result<()> {
    sys::set_mount_attributes(mount, c"", MountAttributes { set, idmap: Some(userns), recursive: false })
}

fn mapped_lower(path: &Path, userns: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path, flags).step("open the base")?;
    idmap(tree.as_fd(), userns, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
        .step("map the base's ids")?;
    Ok(tree)
}

/// A directory of the host's programs, under what hides its private files: the upper one comes first.
fn covered(name: &str, base: &BaseTree, userns: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Failure> {
    let cover = base.cover.join(name);
    let cover = cover.is_dir().then(|| mapped_lower(&cover, userns)).transpose()?;
    let programs = mapped_lower(&Path::new("/").join(name), userns)?;
    Ok(cover.into_iter().chain([programs]).collect())
}

/// `upper` is a disk and the layer on it; without one nothing can be written, and there are two lower layers or more.
fn overlay(lower: &[OwnedFd], upper: Option<(&OwnedFd, &str)>) -> Result<OwnedFd, Failure> {
    let at = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mount = || -> rustix::io::Result<OwnedFd> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "source", "sandscope")?;
        let lower = lower.iter().map(at).collect::<Vec<_>>().join(":");
        rustix::mount::fsconfig_set_string(&context, "lowerdir", lower)?;
        if let Some((disk, layer)) = upper {
            rustix::mount::fsconfig_set_string(&context, "upperdir", format!("{}/{layer}/upper", at(disk)))?;
            rustix::mount::fsconfig_set_string(&context, "workdir", format!("{}/{layer}/work", at(disk)))?;
        }
        rustix::mount::fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let mounted = mount().step("mount the overlay")?;
    let flags = rustix::fs::fstatvfs(&mounted).step("look at the overlay")?.f_flag;
    if upper.is_some() && flags.contains(StatVfsMountFlags::RDONLY) {
        return Err(Failure::new("mount the overlay", "it came out read-only"));
    }
    Ok(mounted)
}

/// The ids used for files, changed for a while. Capabilities are kept over the change.
struct FilesystemIds;

impl FilesystemIds {
    fn switch_to(id: u32) -> Result<Self, Failure> {
        rustix::thread::set_capabilities_secure_bits(rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP)
            .step("keep capabilities")?;
        sys::set_filesystem_ids(id).step("change file system ids")?;
        Ok(Self)
    }
}

impl Drop for FilesystemIds {
    fn drop(&mut self) {
        if sys::set_filesystem_ids(0).is_err() {
            std::process::abort();
        }
    }
}

/// Maps ids 0-65535 of the process's new user namespace to the range at `uid_base`.
pub(super) fn map_ids(proc_dir: &Path, uid_base: u32) -> Result<(), Failure> {
    let line = format!("0 {uid_base} {}", super::identity::RANGE_LEN);
    std::fs::write(proc_dir.join("uid_map"), &line).step("map user ids")?;
    std::fs::write(proc_dir.join("gid_map"), &line).step("map group ids")
}

/// Opens a namespace of the process.
pub(super) fn open_namespace(proc_dir: &Path, name: &str) -> Result<OwnedFd, Failure> {
    File::open(proc_dir.join("ns").join(name)).map(OwnedFd::from).step("open a namespace")
}

pub(super) fn c_path(path: &str) -> Result<CString, Failure> {
    CString::new(path).map_err(|error| Failure::new("name a mount point", error))
}
