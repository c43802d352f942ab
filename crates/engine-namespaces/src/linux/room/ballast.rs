//! A file that takes room on the host's disk so that there is some to give back.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use crate::linux::disk;

/// Its name in the state directory.
const FILE: &str = "ballast";

#[derive(Debug)]
pub(super) struct Ballast {
    /// Opened only when it is needed, so that whoever deletes it has its room.
    path: PathBuf,
    size: u64,
    /// Whether it has been let go, and not come back whole.
    is_gone: bool,
}

impl Ballast {
    pub(super) fn open(state_dir: &Path, size: u64) -> io::Result<Self> {
        let ballast = Self { path: state_dir.join(FILE), size, is_gone: true };
        let file = ballast.file()?;
        if file.metadata()?.len() > size {
            file.set_len(size)?;
        }
        Ok(Self { is_gone: disk::bytes_on_disk(&file)? < size, ..ballast })
    }

    fn file(&self) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether there is nothing to restore.
    pub(super) fn is_whole(&self) -> bool {
        self.size == 0 || (!self.is_gone && self.path.exists())
    }

    /// Bytes that letting it go makes free.
    pub(super) fn to_let_go(&self) -> u64 {
        if self.is_gone { 0 } else { self.size }
    }

    /// Gives its room back to the host.
    pub(super) fn let_go(&mut self) -> io::Result<()> {
        self.is_gone = true;
        self.file()?.set_len(0)
    }

    /// Takes its room again, if at least `left` bytes are free afterwards.
    pub(super) fn restore(&mut self, free: u64, left: u64) -> io::Result<()> {
        if self.is_whole() {
            self.is_gone = false;
            return Ok(());
        }
        let file = self.file()?;
        let missing = self.size.saturating_sub(disk::bytes_on_disk(&file)?);
        if free < missing.saturating_add(left) {
            return Ok(());
        }
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.size)?;
        self.is_gone = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_comes_back_and_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let on_disk = || disk::bytes_on_disk(&File::open(dir.path().join(FILE)).unwrap()).unwrap();
        let mut ballast = Ballast::open(dir.path(), 1 << 20).unwrap();
        assert!(ballast.is_gone());
        ballast.restore(1 << 20, 1).unwrap();
        assert!(ballast.is_gone() && on_disk() == 0, "there was no room for it");
        ballast.restore(2 << 20, 1 << 20).unwrap();
        assert!(!ballast.is_gone() && on_disk() >= 1 << 20);
        assert!(!Ballast::open(dir.path(), 1 << 20).unwrap().is_gone());
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        ballast.restore(2 << 20, 1 << 20).unwrap();
        assert!(
            !ballast.is_gone() && on_disk() >= 1 << 20,
            "who deletes it gets its room, until there is more"
        );
        ballast.let_go().unwrap();
        assert!(ballast.is_gone() && on_disk() == 0);
        assert!(Ballast::open(dir.path(), 1 << 20).unwrap().is_gone());
        assert!(!Ballast::open(dir.path(), 0).unwrap().is_gone(), "none is wished");
    }
}
