//! A layer between the host's programs and the sandbox's own: it hides what not everybody on the host may read, and adds
//! what the host lacks.
//!
//! Root of a sandbox owns the files of the host's root, as it sees them, or it could change none of them in its layer.
//! So no permission keeps it from reading them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

/// What the layer holds, by paths from the root.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Cover(BTreeMap<PathBuf, Piece>);

#[derive(Debug, PartialEq, Eq, Hash)]
enum Piece {
    /// A directory as it is on the host: the upper one's owner, mode and time are those that are seen.
    Dir {
        mode: u32,
        user: u32,
        group: u32,
        changed: (i64, i64),
    },
    /// What overlays take for "not there".
    Hidden,
    Link(PathBuf),
}

impl Cover {
    pub(crate) fn hide(&mut self, paths: &BTreeSet<PathBuf>) -> io::Result<()> {
        for path in paths {
            match self.put(path, Piece::Hidden) {
                // Gone since it was found, and its directory with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    pub(crate) fn link(&mut self, at: &Path, target: &Path) -> io::Result<()> {
        self.put(at, Piece::Link(target.to_owned()))
    }

    /// A directory that is to be there whatever is in it.
    pub(crate) fn dir(&mut self, path: &Path) -> io::Result<()> {
        if path == Path::new("/") || self.0.contains_key(path) {
            return Ok(());
        }
        path.parent().map_or(Ok(()), |parent| self.dir(parent))?;
        let found = std::fs::metadata(path)?;
        let piece = Piece::Dir {
            mode: found.permissions().mode() & 0o7777,
            user: found.uid(),
            group: found.gid(),
            changed: (found.mtime(), found.mtime_nsec()),
        };
        self.0.insert(path.to_owned(), piece);
        Ok(())
    }

    fn put(&mut self, path: &Path, piece: Piece) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.dir(parent))?;
        self.0.insert(path.to_owned(), piece);
        Ok(())
    }

    /// Makes sure the layer exists below `base_dir`, and says where.
    pub(crate) fn prepare(&self, base_dir: &Path) -> io::Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        let at = base_dir.join(format!("cover-{:016x}", hasher.finish()));
        if !at.is_dir() {
            super::make_whole(&at, |unfinished| self.build(unfinished))?;
        }
        Ok(at)
    }

    fn build(&self, top: &Path) -> io::Result<()> {
        // Parents come first.
        for (path, piece) in &self.0 {
            let at = below(top, path);
            match piece {
                Piece::Dir { user, group, mode, .. } => {
                    std::fs::create_dir(&at)?;
                    lchown(&at, Some(*user), Some(*group))?;
                    std::fs::set_permissions(&at, PermissionsExt::from_mode(*mode))?;
                }
                Piece::Hidden => rustix::fs::mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), 0)?,
                Piece::Link(target) => std::os::unix::fs::symlink(target, &at)?,
            }
        }
        for (path, piece) in &self.0 {
            if let Piece::Dir { changed: (tv_sec, tv_nsec), .. } = piece {
                let changed = Timespec { tv_sec: *tv_sec, tv_nsec: *tv_nsec };
                let times = Timestamps { last_access: changed, last_modification: changed };
                rustix::fs::utimensat(CWD, below(top, path), &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }
}

fn below(top: &Path, path: &Path) -> PathBuf {
    top.join(path.strip_prefix("/").unwrap_or(path))
}
