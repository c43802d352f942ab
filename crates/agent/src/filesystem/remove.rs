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

use crate::pool::Caller;

/// Device and inode.
type Identity = (u64, u64);

/// Names that are remembered at most. A directory is read from its start whenever those of it have been dealt with.
const MAX_NAMES: usize = 1024;

/// A directory on the way down.
struct Level {
    identity: Identity,
    /// Where the way goes on.
    name: CString,
    /// What else is to be gone into.
    full: Vec<CString>,
}

/// Removes the directory at `path`, which is not a link.
pub(super) fn remove_tree(path: &Path, caller: &Caller<'_>) -> io::Result<()> {
    let mut here = open(CWD, path, OFlags::NOFOLLOW)?;
    let mut full = Vec::new();
    let mut above: Vec<Level> = Vec::new();
    let mut remembered = 0;
    loop {
        if full.is_empty() {
            // One at least, however deep it is.
            let most = MAX_NAMES.saturating_sub(remembered).max(1);
            full = full_directories(&here, most, caller)?;
            remembered += full.len();
        }
        if let Some(name) = full.pop() {
            remembered -= 1;
            match open(&here, name.as_c_str(), OFlags::NOFOLLOW) {
                Ok(below) => {
                    above.push(Level { identity: identity(&here)?, name, full });
                    (here, full) = (below, Vec::new());
                }
                // Gone, or something else by now: what is still there is found once more.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        let Some(level) = above.pop() else { break };
        here = open(&here, "..", OFlags::empty())?;
        if identity(&here)? != level.identity {
            return Err(io::Error::other("it was moved while it was removed"));
        }
        gone(unlinkat(&here, &level.name, AtFlags::REMOVEDIR))?;
        full = level.full;
    }
    Ok(gone(unlinkat(CWD, path, AtFlags::REMOVEDIR))?)
}

/// Removes what is in the directory, up to so many directories that are not empty: their names are returned.
fn full_directories(directory: &OwnedFd, most: usize, caller: &Caller<'_>) -> io::Result<Vec<CString>> {
    let mut full = Vec::new();
    for entry in Dir::read_from(directory)? {
        caller.waits()?;
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
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => {
                full.push(name.to_owned());
                if full.len() >= most {
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    // The last one comes first.
    full.reverse();
    Ok(full)
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
