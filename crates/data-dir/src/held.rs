//! One directory, one server: the holder of the lock may write.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::own;

const LOCK: &str = "server.lock";

/// The data directory, held by this process until dropped. The kernel lets go of the lock with the process, so a
/// crash leaves nothing to clean up.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server holds it.
    #[error(
        "another server ({holder}) uses the data directory {}: stop it first, or give this one its own with --data-dir",
        path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as the lock file says.
        holder: String,
    },
    /// It cannot be made, opened or locked.
    #[error("cannot use the data directory {}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory where missing (for the owner only) and takes its lock. One that is there must be this
    /// user's; links lead to it, but not on from there.
    ///
    /// # Errors
    /// [`DataDirError`] if the directory cannot be made or read, is somebody else's, or another server holds its lock.
    pub fn hold(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        own::check_dir(&path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut lock = own::open_file(&path.join(LOCK), options).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path, lock)),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let note = format!("process {}\n", std::process::id());
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(note.as_bytes()));
        if let Err(error) = written {
            // A full or read-only disk must not keep the server from serving reads.
            tracing::warn!(%error, "cannot note this process in the lock file");
        }
        Ok(Self { path, _lock: lock })
    }

    /// The refusal of [`hold`](Self::hold) where another server holds the directory now. Makes and holds nothing.
    pub fn holder(path: &Path) -> Option<DataDirError> {
        let path = path.canonicalize().ok()?;
        let lock = own::open_file(&path.join(LOCK), OpenOptions::new().read(true)).ok()?;
        matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| held(path, lock))
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn held(path: PathBuf, mut lock: File) -> DataDirError {
    let mut holder = String::new();
    // Who holds it is a courtesy; the refusal is valid without it.
    let _ = lock.read_to_string(&mut holder);
    DataDirError::Held { path, holder: holder.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn refused(path: &Path) -> String {
        let error = DataDir::hold(path).unwrap_err();
        format!("{error}: {}", std::error::Error::source(&error).unwrap())
    }

    #[test]
    fn what_others_could_look_into_is_closed_and_what_they_could_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o755);
        std::fs::write(dir.path().join(LOCK), "").unwrap();
        set_mode(&dir.path().join(LOCK), 0o644);
        drop(DataDir::hold(dir.path()).unwrap());
        assert_eq!((mode(dir.path()), mode(&dir.path().join(LOCK))), (0o700, 0o600));
        for writable in [0o777, 0o770, 0o702] {
            set_mode(dir.path(), writable);
            assert!(refused(dir.path()).contains("chmod 700"), "{writable:o}");
            assert_eq!(mode(dir.path()), writable, "a refusal changes nothing");
        }
    }

    #[test]
    fn a_foreign_owner_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        if chown(dir.path(), Some(65534), Some(65534)).is_err() {
            return;
        }
        assert!(refused(dir.path()).contains("belongs to user 65534"));
        assert!(!dir.path().join(LOCK).exists());
        chown(dir.path(), Some(0), Some(0)).unwrap();
        std::fs::write(dir.path().join(LOCK), "").unwrap();
        chown(dir.path().join(LOCK), Some(65534), Some(65534)).unwrap();
        assert!(refused(dir.path()).contains("server.lock belongs to user 65534"));
    }

    #[test]
    fn links_lead_to_the_directory_and_not_on_from_there() {
        let parent = tempfile::tempdir().unwrap();
        let (data, link) = (parent.path().join("data"), parent.path().join("link"));
        std::fs::create_dir(&data).unwrap();
        symlink(&data, &link).unwrap();
        let held = DataDir::hold(&link).unwrap();
        assert_eq!(held.path(), data.canonicalize().unwrap());
        drop(held);
        std::fs::remove_file(data.join(LOCK)).unwrap();
        symlink(parent.path().join("victim"), data.join(LOCK)).unwrap();
        assert!(refused(&data).contains("server.lock is a link"));
        assert!(!parent.path().join("victim").exists());
    }

    #[test]
    fn who_holds_it_is_told_without_making_anything() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        assert!(DataDir::holder(&path).is_none());
        assert!(!path.exists());
        let held = DataDir::hold(&path).unwrap();
        assert!(matches!(DataDir::holder(&path), Some(DataDirError::Held { .. })));
        drop(held);
        assert!(DataDir::holder(&path).is_none());
    }

    #[test]
    fn a_second_server_is_refused_and_told_who_holds_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let held = DataDir::hold(&path).unwrap();
        let refused = DataDir::hold(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(refused.contains("--data-dir"), "{refused}");
        drop(held);
        DataDir::hold(&path).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(DataDir::hold(file.path()), Err(DataDirError::Unusable { .. })));
    }
}
