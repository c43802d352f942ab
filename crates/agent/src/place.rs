//! Where a path leads, for work on files that the agent does as root for its callers.
//!
//! Programs of other users make links, and a link as root follows it leads anywhere. So **a link leads nowhere its owner
//! could not go**: links of root's are followed as they are; beyond one of another user's everything is done with that
//! user's rights. A path without such links leads wherever it says, as callers rely on.
//!
//! What is found is a directory that is held open and a name in it, so that nothing can be exchanged meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, mkdirat, open, openat,
    openat2, readlinkat, statat,
};
use rustix::io::Errno;

use crate::file_systems::Kind;
use crate::rights::Rights;

/// The ids of the user and of the group that get what is made.
pub(crate) type Owner = (u32, u32);

/// Links on one way, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Names on one way: of the path, and of what its links say.
const MAX_NAMES: usize = 16 * 1024;

/// To look at, and to go on from.
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// What becomes of a link in the last place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Followed,
    /// It is meant itself.
    Itself,
}

/// A name in a directory. There may be nothing of that name.
pub(crate) struct Place {
    directory: OwnedFd,
    name: OsString,
    rights: Rights,
}

impl Place {
    /// Where the absolute `path` leads. Where `owner` is given, directories that are missing on the way are made and
    /// become the owner's.
    pub(crate) fn find(path: &str, last: Last, owner: Option<Owner>) -> io::Result<Self> {
        let (parent, name) = path.rsplit_once('/').ok_or(ErrorKind::InvalidInput)?;
        let parent = if parent.is_empty() { "/" } else { parent };
        // Most paths have no link.
        if let Ok(directory) =
            openat2(CWD, parent, LOOK | OFlags::DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        {
            let name = OsString::from(if name.is_empty() { "." } else { name });
            if last == Last::Itself || !is_link(&directory, &name) {
                return Ok(Self { directory, name, rights: Rights::Own });
            }
        }
        Way::new(path)?.walk(last, owner)
    }

    /// Does `work` with the rights that count here. It is given a path that leads here and nowhere else.
    pub(crate) fn act<T>(&self, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let _assumed = self.rights.assume()?;
        work(&self.path())
    }

    /// Like [`Place::act`], of two places at once: with rights that count in both.
    pub(crate) fn act_with<T>(
        &self,
        other: &Self,
        work: impl FnOnce(&Path, &Path, &Rights) -> io::Result<T>,
    ) -> io::Result<T> {
        let rights = match (&self.rights, &other.rights) {
            (rights, Rights::Own) | (Rights::Own, rights) => rights,
            (one, two) if one == two => one,
            _ => return Err(denied("the two paths lead through links of different users")),
        };
        let _assumed = rights.assume()?;
        work(&self.path(), &other.path(), rights)
    }

    /// Opens what is here, which is no link.
    pub(crate) fn open(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        let _assumed = self.rights.assume()?;
        Ok(openat(&self.directory, &self.name, flags | OFlags::NOFOLLOW, mode)?.into())
    }

    /// Gives an open file to `owner`, as far as the rights reach.
    pub(crate) fn give(&self, file: &File, owner: Owner) -> io::Result<()> {
        let _assumed = self.rights.assume()?;
        give(file, owner, &self.rights)
    }

    /// Makes a directory here, which is `owner`'s.
    pub(crate) fn make_directory(&self, owner: Owner) -> io::Result<()> {
        make(&self.directory, &self.name, owner, &self.rights)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd())).join(&self.name)
    }
}

/// A way that is being gone.
struct Way {
    here: OwnedFd,
    /// The names that are still ahead, the next one last.
    ahead: Vec<OsString>,
    names: usize,
    links: usize,
    rights: Rights,
}

impl Way {
    fn new(path: &str) -> io::Result<Self> {
        let mut way = Self { here: root()?, ahead: Vec::new(), names: 0, links: 0, rights: Rights::Own };
        way.add(path.as_bytes())?;
        Ok(way)
    }

    fn add(&mut self, path: &[u8]) -> io::Result<()> {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
        let from = self.ahead.len();
        self.ahead.extend(names.map(|name| OsStr::from_bytes(name).to_owned()));
        self.ahead[from..].reverse();
        self.names += self.ahead.len() - from;
        if self.names > MAX_NAMES { Err(Errno::NAMETOOLONG.into()) } else { Ok(()) }
    }

    fn walk(mut self, last: Last, owner: Option<Owner>) -> io::Result<Place> {
        while let Some(name) = self.ahead.pop() {
            let is_last = self.ahead.is_empty();
            if is_last && last == Last::Itself && name != ".." {
                return Ok(self.end(name));
            }
            match self.look(&name) {
                Ok(found) if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Symlink => {
                    self.follow(&name, &found)?;
                }
                Ok(_) if is_last && name != ".." => return Ok(self.end(name)),
                Ok(found) => self.here = found,
                Err(Errno::NOENT) if is_last => return Ok(self.end(name)),
                Err(Errno::NOENT) => {
                    let owner = owner.ok_or(Errno::NOENT)?;
                    match make(&self.here, &name, owner, &self.rights) {
                        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                        // Somebody else may make it, and take it away, at the same time: not for ever.
                        _ => self.add(name.as_bytes())?,
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.end(".".into()))
    }

    fn end(self, name: OsString) -> Place {
        Place { directory: self.here, name, rights: self.rights }
    }

    fn look(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        let _assumed = self.rights.assume().map_err(|_| Errno::ACCESS)?;
        openat(&self.here, name, LOOK, Mode::empty())
    }

    fn follow(&mut self, name: &OsStr, link: &OwnedFd) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let made_up = Kind::of(link)? == Kind::MadeUp;
        let probe = || {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            openat2(&self.here, name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        };
        // The links in `/proc/<pid>/fd` and the like are no paths but open files: the agent's are those of other requests.
        if made_up && probe().is_err_and(|error| error == Errno::LOOP) {
            return Err(denied("the path leads through an open file of a process"));
        }
        let uid = fstat(link)?.st_uid;
        match &self.rights {
            // The kernel's own belong to the host's root, who has no number in here.
            _ if uid == 0 || made_up => {}
            Rights::Own => self.rights = Rights::of(uid)?,
            Rights::Of { uid: other, .. } if *other == uid => {}
            Rights::Of { .. } => return Err(denied("the path leads through links of different users")),
        }
        let target = OsString::from_vec(readlinkat(link, "", Vec::new())?.into_bytes());
        if target.is_empty() {
            return Err(Errno::NOENT.into());
        }
        if target.as_bytes().starts_with(b"/") {
            self.here = root()?;
        }
        self.add(target.as_bytes())
    }
}

fn root() -> io::Result<OwnedFd> {
    Ok(open("/", LOOK | OFlags::DIRECTORY, Mode::empty())?)
}

fn is_link(directory: &OwnedFd, name: &OsStr) -> bool {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
}

/// Makes a directory of `owner`'s.
fn make(directory: &OwnedFd, name: &OsStr, owner: Owner, rights: &Rights) -> io::Result<()> {
    let _assumed = rights.assume_for(owner)?;
    mkdirat(directory, name, Mode::from_raw_mode(0o755))?;
    // The directory above may have passed on its group; and whoever watches hears of an owner. By now something else may
    // have this name: these rights give away only what is the owner's.
    let made = openat(directory, name, LOOK | OFlags::DIRECTORY, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    match chownat(&made, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
        // It stays whose it is.
        Err(Errno::PERM) => Ok(()),
        result => Ok(result?),
    }
}

fn give(file: &File, owner: Owner, rights: &Rights) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    match chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
        // Beyond somebody's link it stays whose it is.
        Err(Errno::PERM) if !rights.are_own() => Ok(()),
        result => Ok(result?),
    }
}

pub(crate) fn denied(why: &str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why)
}
