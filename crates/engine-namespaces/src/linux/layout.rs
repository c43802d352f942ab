//! Where things lie in the state directory.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sandscope_model::{BuildId, SandboxId};

/// The state directory, locked for this process: two servers over one would destroy each other's sandboxes.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    _lock: Option<File>,
}

impl Layout {
    /// Makes what is missing and takes the lock.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        for dir in ["base", "disks", "sandboxes", "snapshots", "trash", "warm"] {
            DirBuilder::new().recursive(true).mode(0o700).create(root.join(dir))?;
        }
        let lock = File::options().write(true).create(true).truncate(false).open(root.join("lock"))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root, _lock: Some(lock) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another server uses {}", root.display()),
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// The same without making or locking anything: only for looking.
    pub(crate) fn look(root: &Path) -> io::Result<Self> {
        Ok(Self { root: std::path::absolute(root)?, _lock: None })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn base_dir(&self) -> PathBuf {
        self.root.join("base")
    }

    pub(crate) fn pristine_image(&self, size_mb: u32) -> PathBuf {
        self.base_dir().join(format!("disk-{size_mb}.ext4"))
    }

    pub(crate) fn sandboxes_dir(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    pub(crate) fn sandbox_dir(&self, id: &SandboxId) -> PathBuf {
        self.sandboxes_dir().join(id.as_str())
    }

    pub(crate) fn snapshot(&self, build: BuildId) -> PathBuf {
        self.root.join("snapshots").join(format!("{build}.ext4"))
    }

    pub(crate) fn snapshots_dir(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Sandboxes made ahead.
    pub(crate) fn warm_dir(&self) -> PathBuf {
        self.root.join("warm")
    }

    /// Where images have a name for the moment in which they are attached.
    pub(crate) fn disks_dir(&self) -> PathBuf {
        self.root.join("disks")
    }

    pub(crate) fn trash_dir(&self) -> PathBuf {
        self.root.join("trash")
    }
}

/// Makes a directory only we can look into.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}
