//! Looking at directories before they are watched. All of it may block.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};

pub(super) use crate::file_systems::Kind;

/// Names of one directory that are taken note of.
const MAX_NAMES: usize = 20_000;

/// What a watch would be on. `None` if it is no directory.
pub(super) fn look(path: &Path) -> io::Result<Option<Kind>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::Directory {
        return Ok(None);
    }
    Kind::of(&opened).map(Some)
}

/// What is in a directory.
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) directories: Vec<OsString>,
    /// Everything else; only if asked for.
    pub(super) others: Vec<OsString>,
    /// There was more than is taken note of.
    pub(super) cut_off: bool,
}

/// Lists a directory. The last component may not be a link.
pub(super) fn scan(path: &Path, with_others: bool) -> io::Result<Found> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(CWD, path, flags, Mode::empty())?;
    let mut found =
        Found { kind: Kind::of(&opened)?, directories: Vec::new(), others: Vec::new(), cut_off: false };
    if found.kind == Kind::MadeUp {
        return Ok(found);
    }
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        if found.directories.len() + found.others.len() >= MAX_NAMES {
            found.cut_off = true;
            break;
        }
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Not every file system says beforehand.
            FileType::Unknown => statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode)),
            kind => kind,
        };
        let name = OsString::from_vec(name.to_bytes().to_vec());
        if kind == FileType::Directory {
            found.directories.push(name);
        } else if with_others {
            found.others.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_watch_would_be_on() {
        assert_eq!(look(Path::new("/proc")).unwrap(), Some(Kind::MadeUp));
        assert_eq!(look(Path::new("/etc/passwd")).unwrap(), None);
        assert!(look(Path::new("/no/where")).is_err());
    }
}
