//! Looking at directories before they are watched. All of it may block.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, fstatfs, openat, statat};

/// Names of one directory that are taken note of.
const MAX_NAMES: usize = 20_000;

/// Magic numbers of file systems that the kernel makes up: endless, and of no interest.
const MADE_UP: [u64; 14] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x27_e0eb,   // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0x6265_6570, // configfs
    0xde5e_81e4, // efivarfs
    0x4249_4e4d, // binfmt_misc
];

/// And of those whose changes are made elsewhere, where this kernel does not see them.
const NETWORK: [u64; 11] = [
    0x6969,      // nfs
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x517b,      // smb
    0x6573_5546, // fuse
    0x0102_1997, // 9p
    0x00c3_6400, // ceph
    0x5346_414f, // afs
    0x6b41_4653, // kafs
    0x7375_7245, // coda
    0x0bd0_0bd0, // lustre
];

/// Which changes on a file system this kernel sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    MadeUp,
    Network,
}

impl Kind {
    fn of(magic: u64) -> Self {
        // Some architectures extend the sign.
        let magic = magic & 0xffff_ffff;
        if MADE_UP.contains(&magic) {
            Self::MadeUp
        } else if NETWORK.contains(&magic) {
            Self::Network
        } else {
            Self::Ordinary
        }
    }
}

/// What a watch would be on. `None` if it is no directory.
pub(super) fn look(path: &Path) -> io::Result<Option<Kind>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::Directory {
        return Ok(None);
    }
    kind(&opened).map(Some)
}

fn kind(opened: &OwnedFd) -> io::Result<Kind> {
    Ok(Kind::of(fstatfs(opened)?.f_type as u64))
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
        Found { kind: kind(&opened)?, directories: Vec::new(), others: Vec::new(), cut_off: false };
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
    fn kinds_of_file_systems() {
        assert_eq!(Kind::of(0xef53), Kind::Ordinary);
        assert_eq!(Kind::of(0x794c_7630), Kind::Ordinary, "overlay");
        assert_eq!(Kind::of(0x6573_5546), Kind::Network);
        assert_eq!(Kind::of(0xffff_ffff_ff53_4d42), Kind::Network);
        assert_eq!(look(Path::new("/proc")).unwrap(), Some(Kind::MadeUp));
        assert_eq!(look(Path::new("/etc/passwd")).unwrap(), None);
        assert!(look(Path::new("/no/where")).is_err());
    }
}
