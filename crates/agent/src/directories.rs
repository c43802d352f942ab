//! Making directories for a caller's user.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, lchown};

/// The ids of the user and of the group that get what is made.
pub(crate) type Owner = (u32, u32);

/// Makes the directories above `path` that are missing, and gives them to `owner`.
pub(crate) fn make_parents(path: &str, owner: Owner) -> io::Result<()> {
    match path.rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => make_all(parent, owner),
        _ => Ok(()),
    }
}

/// Makes the directory at `path` and those above it that are missing, and gives them to `owner`.
pub(crate) fn make_all(path: &str, owner: Owner) -> io::Result<()> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for end in ends.chain([path.len()]) {
        let directory = &path[..end];
        match fs::DirBuilder::new().mode(0o755).create(directory) {
            Ok(()) => lchown(directory, Some(owner.0), Some(owner.1))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // On a file system that cannot be written, what exists is still there.
            Err(error) if fs::metadata(directory).is_ok_and(|found| found.is_dir()) => drop(error),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
