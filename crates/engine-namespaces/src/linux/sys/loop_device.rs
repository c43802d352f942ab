use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const FIFREEZE: libc::c_ulong = 0xC004_5877;
const FITHAW: libc::c_ulong = 0xC004_5878;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// How often another process may snatch the free device we were given before this fails.
const MAX_RACES: u32 = 200;

#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl LoopInfo64 {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// Attaches `image` to a free loop device, with direct I/O where the file system can. The device detaches itself
/// when its last user (the file descriptor returned, a mount) is gone.
pub(crate) fn attach_loop(image: &File) -> io::Result<(u32, File)> {
    let control =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/loop-control")?;
    let mut flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    let mut races = 0;
    loop {
        // SAFETY: this request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        let number = u32::try_from(number).map_err(|_| io::Error::last_os_error())?;
        let device = open_loop(number)?;
        let config = LoopConfig {
            fd: u32::try_from(image.as_raw_fd()).map_err(io::Error::other)?,
            block_size: 4096,
            info: LoopInfo64 { flags, ..LoopInfo64::EMPTY },
            reserved: [0; 8],
        };
        // SAFETY: LOOP_CONFIGURE reads one loop_config, laid out as the kernel's and alive during the call.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } == 0 {
            return Ok((number, device));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EBUSY) if races < MAX_RACES => races += 1,
            Some(libc::EINVAL) if flags & LO_FLAGS_DIRECT_IO != 0 => flags &= !LO_FLAGS_DIRECT_IO,
            _ => return Err(error),
        }
    }
}

fn open_loop(number: u32) -> io::Result<File> {
    let path = format!("/dev/loop{number}");
    let open = || OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(&path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // In a container /dev may not follow the kernel's devices.
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path.as_str(),
                rustix::fs::FileType::BlockDevice,
                rustix::fs::Mode::from_raw_mode(0o660),
                rustix::fs::makedev(7, number),
            )?;
            open()
        }
        other => other,
    }
}

/// Detaches a loop device as soon as its last user is gone. One that shows nothing is fine.
pub(crate) fn detach_loop(number: u32) -> io::Result<()> {
    let device = File::open(format!("/dev/loop{number}"))?;
    // SAFETY: this request takes no argument.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD, 0) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENXIO) { Ok(()) } else { Err(error) }
}

/// Device and inode number of the file behind a loop device, if it shows one.
pub(crate) fn backing_inode(number: u32) -> io::Result<Option<(u64, u64)>> {
    let device = File::open(format!("/dev/loop{number}"))?;
    let mut info = LoopInfo64::EMPTY;
    // SAFETY: LOOP_GET_STATUS64 fills one loop_info64, laid out as the kernel's and alive during the call.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) } != 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENXIO) { Ok(None) } else { Err(error) };
    }
    Ok(Some((info.device, info.inode)))
}

/// Appended by the kernel to the path of a file that has no name any more.
const REMOVED: &[u8] = b" (deleted)";

/// The file behind a loop device, if it shows one, and whether it still has that name.
pub(crate) fn backing_file(number: u32) -> Option<(PathBuf, bool)> {
    let mut text = std::fs::read(format!("/sys/block/loop{number}/loop/backing_file")).ok()?;
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    let (file, has_name) = match text.strip_suffix(REMOVED) {
        Some(file) => (file, false),
        None => (text.as_slice(), true),
    };
    Some((PathBuf::from(OsStr::from_bytes(file)), has_name))
}

/// Brings the file system at `mount` to a consistent state on its device and holds all writes to it.
pub(crate) fn freeze_filesystem(mount: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it ignores its argument.
    unsafe { ioctl_zero(mount, FIFREEZE) }
}

/// Lets writes go on. A file system that is not frozen is fine.
pub(crate) fn thaw_filesystem(mount: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: it ignores its argument.
    match unsafe { ioctl_zero(mount, FITHAW) } {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

/// # Safety
///
/// The request must be one that touches no memory of ours when its argument is zero.
unsafe fn ioctl_zero(mount: BorrowedFd<'_>, request: libc::c_ulong) -> io::Result<()> {
    let root = super::space::open_root(mount)?;
    // SAFETY: as the caller promises.
    if unsafe { libc::ioctl(root.as_raw_fd(), request, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
