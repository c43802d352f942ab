//! Writable layers: sparse ext4 images of an exact size, copied from a pristine one and mounted through a loop device.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::sys;

/// A sandbox's image in its directory.
pub(crate) const IMAGE_FILE: &str = "disk.ext4";
/// Directories every image starts with: an upper and a work directory for each overlay.
const LAYERS: [&str; 4] = ["root/upper", "root/work", "usr/upper", "usr/work"];
/// Free stretches that are shorter stay with the image: each costs the host as much as a long one.
const SHORTEST_TRIM: u64 = 64 << 10;
/// What the kernel keeps back of an ext4 by itself: a fiftieth, and 4,096 blocks at the most.
const KERNELS_PART: u64 = 50;
const KERNELS_MOST: u64 = 4096;

/// Makes a pristine image of `size_mb` MiB at `path`.
pub(crate) async fn make_pristine(path: &Path, size_mb: u32) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let content = path.with_extension("content");
    for layer in LAYERS {
        std::fs::create_dir_all(content.join(layer))?;
    }
    let output = tokio::process::Command::new("mkfs.ext4")
        // No journal: the layer of a sandbox that a power cut ended is not used again.
        .args(["-q", "-F", "-m", "0", "-b", "4096", "-O", "^has_journal"])
        .args(["-E", "nodiscard,lazy_itable_init=1,root_owner=0:0", "-d"])
        .arg(&content)
        .arg(&unfinished)
        .arg(format!("{size_mb}M"))
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    std::fs::remove_dir_all(&content)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("mkfs.ext4: {}", words.trim())));
    }
    std::fs::rename(unfinished, path)
}

/// Copies an image, its holes staying holes; shares the blocks where the host's file system can. Returns the copy.
pub(crate) fn copy_image(from: &Path, to: &Path) -> io::Result<File> {
    let source = File::open(from)?;
    let target = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(to)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        copy_sparse(&source, &target)?;
    }
    Ok(target)
}

fn copy_sparse(source: &File, target: &File) -> io::Result<()> {
    let len = source.metadata()?.len();
    target.set_len(len)?;
    let mut at = 0;
    loop {
        let data = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(data) => data,
            // No data after this point.
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        at = rustix::fs::seek(source, SeekFrom::Hole(data))?;
        copy_range(source, target, data, at)?;
    }
}

fn copy_range(source: &File, target: &File, from: u64, to: u64) -> io::Result<()> {
    let (mut read_at, mut write_at) = (from, from);
    while read_at < to {
        let wanted = usize::try_from(to - read_at).unwrap_or(usize::MAX);
        let copied =
            rustix::fs::copy_file_range(source, Some(&mut read_at), target, Some(&mut write_at), wanted)?;
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Attaches an image to a loop device, which detaches itself when its last user is gone.
///
/// The kernel shows everybody on the host by what name a device's file was opened. The image's own has the sandbox's id
/// in it, and whoever knows that reaches the sandbox's ports: it is opened by another, which goes at once.
pub(crate) fn attach(image: &Path, names: &Path) -> io::Result<(u32, File)> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let name = names.join(uuid.trim());
    std::fs::hard_link(image, &name)?;
    let opened = OpenOptions::new().read(true).write(true).open(&name);
    std::fs::remove_file(&name)?;
    sys::attach_loop(&opened?)
}

/// The state directory of an image, by the name that it was attached by; by its own in earlier versions.
pub(crate) fn state_of(attached: &Path) -> Option<&Path> {
    let dir = attached.parent()?;
    if dir.file_name()? == "disks" {
        return dir.parent();
    }
    (attached.file_name()? == IMAGE_FILE).then_some(dir.parent()?.parent()).flatten()
}

/// Bytes a file takes on disk.
pub(crate) fn bytes_on_disk(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.blocks().saturating_mul(512))
}

/// Mounts the file system on a loop device, at no path. Mounting a device again shows the same file system.
pub(crate) fn mount(loop_device: u32) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", format!("/dev/loop{loop_device}"))?;
    rustix::mount::fsconfig_set_flag(&context, "noinit_itable")?;
    // `fsync` brings what was written to the host's file system and waits for no disk: after a power cut nobody uses the
    // layer again.
    rustix::mount::fsconfig_set_flag(&context, "nobarrier")?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Thaws the file system on a loop device, if there is one.
pub(crate) fn thaw_loop(number: u32) {
    let thawed = mount(number).and_then(|disk| sys::thaw_filesystem(disk.as_fd()));
    if let Err(error) = thawed {
        tracing::debug!(number, %error, "nothing is mounted from this loop device");
    }
}

/// Size of the file system, and what is still free for whoever writes, in bytes, whatever it is kept from for want of
/// room on the host.
pub(crate) fn space(mount: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstatvfs(mount)?;
    let available = stat.f_bfree.saturating_sub(kernels_own(stat.f_blocks));
    Ok((stat.f_blocks.saturating_mul(stat.f_frsize), available.saturating_mul(stat.f_frsize)))
}

/// Blocks of an ext4 of that many that the kernel keeps back by itself.
pub(crate) const fn kernels_own(blocks: u64) -> u64 {
    let part = blocks / KERNELS_PART;
    if part < KERNELS_MOST { part } else { KERNELS_MOST }
}

/// Gives the free blocks of the file system back to the host. Not by the mount option that does so at each deletion: the
/// loop device takes them one by one, and `rm -r` would take forty times as long.
pub(crate) fn trim(mount: BorrowedFd<'_>) -> io::Result<u64> {
    sys::trim_filesystem(mount, SHORTEST_TRIM)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
