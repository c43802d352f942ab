//! Opening a file that a client names. Only regular ones are opened, nothing is waited for, and what leads to the agent
//! itself leads nowhere: `/proc/self` would be the agent, and nobody means that.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;

/// The magic number of `/proc`.
const PROC: u64 = 0x9fa0;

/// The inode of the root of any `/proc`.
const PROC_ROOT: u64 = 1;

/// Opens the file for reading.
pub(crate) fn read(path: &str) -> io::Result<File> {
    checked(open(path, OFlags::RDONLY, Mode::empty())?)
}

/// Opens the file for writing, and makes it where it is missing. Says whether it did.
pub(crate) fn write(path: &str) -> io::Result<(File, bool)> {
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let mode = Mode::from_raw_mode(0o644);
    match open(path, flags | OFlags::EXCL, mode) {
        Ok(file) => Ok((file, true)),
        // Also what a link leads to that is not there yet.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok((checked(open(path, flags, mode)?)?, false))
        }
        Err(error) => Err(error),
    }
}

fn open(path: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // The links in `/proc/<pid>/fd` and the like are no paths but open files: the agent's are those of other requests.
    match openat2(CWD, path, flags, mode, ResolveFlags::NO_MAGICLINKS) {
        Ok(opened) => Ok(opened.into()),
        // A circle of links says the same; there the path leads nowhere by itself.
        Err(Errno::LOOP) if fs::metadata(path).is_ok() => {
            Err(denied("the path leads through an open file of a process"))
        }
        Err(error) => Err(error.into()),
    }
}

fn checked(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    if is_own(&file)? {
        return Err(denied("it is about the sandbox's agent"));
    }
    Ok(file)
}

/// Whether it is a file that `/proc` makes up about this process. One that cannot be told counts as such.
fn is_own(file: &File) -> io::Result<bool> {
    if fstatfs(file)?.f_type as u64 != PROC {
        return Ok(false);
    }
    let device = file.metadata()?.dev();
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let is_root = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (device, PROC_ROOT))
    };
    let Some(root) = path.ancestors().find(|path| is_root(path)) else { return Ok(true) };
    let below = path.strip_prefix(root).unwrap_or(&path);
    let mut names = below.components().map(|name| name.as_os_str().as_encoded_bytes());
    let Some(id) = names.next() else { return Ok(true) };
    // Each of our threads has a directory there as well.
    let task = |id: &[u8]| Path::new("/proc/self/task").join(OsStr::from_bytes(id));
    if !id.iter().all(u8::is_ascii_digit) || !task(id).exists() {
        return Ok(false);
    }
    let mut name = names.next();
    if name == Some(b"task") {
        name = names.nth(1);
    }
    // `/proc/net` and `/proc/mounts` lead here: they are about the whole sandbox.
    Ok(!matches!(name, Some(b"net" | b"mounts" | b"mountinfo")))
}

fn denied(why: &str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why)
}
