//! Removing a directory with all that is below it.
//!
//! A program inside decides how deep the tree is: it costs neither stack nor descriptors, and no path is ever longer
//! than one name. On the way back up each directory is checked to be the one we came from, since somebody may move
//! directories meanwhile, and what lies above them then is not ours to remove.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Device and inode.
type Identity = (u64, u64);

/// Removes the directory at `path`, which is not a link.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let mut here = open(CWD, path, OFlags::NOFOLLOW)?;
    let mut above: Vec<(Identity, CString)> = Vec::new();
    loop {
        if let Some(name) = first_full_directory(&here)? {
            match open(&here, name.as_c_str(), OFlags::NOFOLLOW) {
                Ok(below) => {
                    above.push((identity(&here)?, name));
                    here = below;
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        let Some((expected, name)) = above.pop() else { break };
        here = open(&here, "..", OFlags::empty())?;
        if identity(&here)? != expected {
            return Err(io::Error::other("it was moved while it was removed"));
        }
        gone(unlinkat(&here, &name, AtFlags::REMOVEDIR))?;
    }
    Ok(gone(unlinkat(CWD, path, AtFlags::REMOVEDIR))?)
}

/// Removes what is in the directory, up to a directory that is not empty: its name is returned.
fn first_full_directory(directory: &OwnedFd) -> rustix::io::Result<Option<CString>> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let is_dir = entry.file_type() == FileType::Directory;
        let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match gone(unlinkat(directory, name, flags)) {
            Ok(()) => {}
            // Not every file system says beforehand what is a directory.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => return Ok(Some(name.to_owned())),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// What somebody else has removed is removed.
fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

fn open(at: impl AsFd, path: impl Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(at, path, flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn identity(directory: &OwnedFd) -> rustix::io::Result<Identity> {
    let found = fstat(directory)?;
    Ok((found.st_dev, found.st_ino))
}
