//! Room kept for what makes room. On a full disk everything is refused, and what would end a sandbox is a write, too: so
//! some of the disk is taken beforehand, and let go for such a write alone.
//!
//! While any of it is let go, every other write of the store is refused as on a full disk: it would take the room first.
//! The reserve comes back before the next such write, as soon as there is room.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FallocateFlags;

/// Its name in the data directory.
const FILE: &str = "facts.reserve";
/// Room for some hundred ends of sandboxes.
const MOST: u64 = 16 << 20;
/// Of a small disk a smaller part.
const PART: u64 = 32;
/// What is left of it goes at once.
const LEAST: u64 = 64 << 10;

/// Clones share one.
#[derive(Debug, Clone)]
pub(crate) struct Reserve {
    dir: PathBuf,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Debug)]
struct Held {
    /// Opened only when it is needed: a file system whose file is open for writing cannot become read-only.
    path: PathBuf,
    size: u64,
    /// Whether some of it has been let go.
    is_used: bool,
}

impl Reserve {
    /// Takes the room. Where the disk has none, or takes none in advance, there is no reserve, and that is all.
    pub(crate) fn open(dir: &Path) -> Self {
        let held = Held::open(dir).inspect_err(|error| {
            tracing::warn!(%error, "no room is kept on the disk for ending sandboxes once it is full");
        });
        Self { dir: dir.to_owned(), held: Arc::new(Mutex::new(held.ok())) }
    }

    /// Whether a write that makes no room has to be refused.
    pub(crate) fn is_used(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.as_mut().filter(|held| held.is_used) else { return false };
        match held.restore(&self.dir) {
            Ok(restored) => !restored,
            Err(_) => true,
        }
    }

    /// Gives a part of it back to the disk; false if there is nothing left.
    pub(crate) fn let_go(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_mut().is_some_and(|held| held.let_go().unwrap_or(false))
    }
}

impl Held {
    fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let was_there = path.exists();
        drop(File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?);
        let disk = rustix::fs::statvfs(dir)?;
        let size = (disk.f_blocks.saturating_mul(disk.f_frsize) / PART).min(MOST);
        // A server that ended meanwhile had let it go.
        let is_used = was_there && std::fs::metadata(&path)?.len() < size;
        let mut held = Self { path, size, is_used };
        if !held.restore(dir)? && !is_used {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(held)
    }

    fn restore(&mut self, dir: &Path) -> io::Result<bool> {
        let metadata = std::fs::metadata(&self.path)?;
        let missing = self.size.saturating_sub(metadata.blocks().saturating_mul(512));
        if missing > 0 {
            let disk = rustix::fs::statvfs(dir)?;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            // Or the next write would find the disk full.
            if free < missing.saturating_add(self.size / 8) {
                return Ok(false);
            }
            rustix::fs::fallocate(self.open_file()?, FallocateFlags::empty(), 0, self.size)?;
        }
        self.is_used = false;
        Ok(true)
    }

    fn let_go(&mut self) -> io::Result<bool> {
        let len = std::fs::metadata(&self.path)?.len();
        if len == 0 {
            return Ok(false);
        }
        let left = if len / 2 < LEAST { 0 } else { len / 2 };
        if !self.is_used {
            tracing::warn!("the disk is full: using the room kept for ending sandboxes");
        }
        self.is_used = true;
        self.open_file()?.set_len(left)?;
        Ok(true)
    }

    fn open_file(&self) -> io::Result<File> {
        File::options().write(true).open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_let_go_by_halves_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path());
        let len = || std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        let whole = len();
        assert!(whole > 0 && whole <= MOST && !reserve.is_used());
        assert!(reserve.let_go());
        assert_eq!(len(), whole / 2);
        assert!(!reserve.is_used(), "there is room, so it comes back");
        assert_eq!(len(), whole);
        let mut n = 0;
        while reserve.let_go() {
            n += 1;
        }
        assert!(len() == 0 && n < 12);
        drop(reserve);
        assert!(!Reserve::open(dir.path()).is_used() && len() == whole, "found again, and whole");
    }
}
