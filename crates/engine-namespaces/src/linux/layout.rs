//! Where things lie in the state directory.
//!
//! What is there already is taken only if it is this user's own and no link: whoever could write there before it was
//! closed to others must not have chosen where files are made or followed.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use sandscope_model::{BuildId, SandboxId};

/// Directories of the state directory.
const DIRS: [&str; 6] = ["base", "disks", "sandboxes", "snapshots", "trash", "warm"];
/// What a mode says of others than the owner.
const OTHERS: u32 = 0o077;

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
        DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        let opened = rustix::fs::openat(CWD, &root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for name in DIRS {
            match rustix::fs::mkdirat(&opened, name, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => open_own(&opened, &root, name, OFlags::DIRECTORY)?,
                Err(error) => return Err(error.into()),
            };
        }
        let lock = File::from(open_own(&opened, &root, "lock", OFlags::WRONLY | OFlags::CREATE)?);
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

    /// Whether `path` lies where sandboxes' files do. What else is below the state directory is not the engine's: it
    /// may be a copy of it.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        DIRS.iter().any(|dir| path.starts_with(self.root.join(dir)))
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

/// Opens what must be this user's own, and closes it to others.
fn open_own(root: &OwnedFd, path: &Path, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let refused = |why: &str| {
        io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.join(name).display()))
    };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(root, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(opened) => opened,
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
            return Err(refused("is a link or no directory: remove it"));
        }
        Err(error) => return Err(error.into()),
    };
    let found = rustix::fs::fstat(&opened)?;
    let own = rustix::process::geteuid().as_raw();
    if found.st_uid != own {
        return Err(refused(&format!("belongs to user {}, this is user {own}: remove it", found.st_uid)));
    }
    if found.st_mode & OTHERS != 0 {
        rustix::fs::fchmod(opened.as_fd(), Mode::from_raw_mode(found.st_mode & 0o700))?;
    }
    Ok(opened)
}

/// Makes a directory only we can look into.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: PathBuf) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn no_link_is_followed_whatever_it_stands_for() {
        for name in DIRS.into_iter().chain(["lock"]) {
            let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            symlink(elsewhere.path(), state.path().join(name)).unwrap();
            let refused = Layout::open(state.path()).unwrap_err();
            assert!(refused.to_string().contains(name), "{name}: {refused}");
            assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "{name}");
        }
    }

    #[test]
    fn what_others_could_look_into_is_closed_to_them() {
        let state = tempfile::tempdir().unwrap();
        let open_to = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::create_dir(state.path().join("base")).unwrap();
        open_to(&state.path().join("base"), 0o755);
        std::fs::write(state.path().join("lock"), "").unwrap();
        open_to(&state.path().join("lock"), 0o644);
        let layout = Layout::open(state.path()).unwrap();
        assert_eq!((mode(layout.base_dir()), mode(state.path().join("lock"))), (0o700, 0o600));
        assert_eq!(mode(layout.warm_dir()), 0o700);
    }

    #[test]
    fn what_is_anothers_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let base = state.path().join("base");
        std::fs::create_dir(&base).unwrap();
        if std::os::unix::fs::chown(&base, Some(65534), Some(65534)).is_err() {
            return;
        }
        let refused = Layout::open(state.path()).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 65534"), "{refused}");
    }

    #[test]
    fn a_copy_below_the_directory_is_not_part_of_it() {
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::look(state.path()).unwrap();
        assert!(layout.holds(&layout.warm_dir().join("w1/disk.ext4")));
        assert!(!layout.holds(&state.path().join("copy/sandboxes/i1/disk.ext4")));
        assert!(!layout.holds(&state.path().join("sandboxes-of-yesterday/i1/disk.ext4")));
    }
}
