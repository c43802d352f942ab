//! One directory, one server: the holder of the lock may write.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

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
    /// Makes the directory where missing (for the owner only) and takes its lock.
    ///
    /// # Errors
    /// [`DataDirError`] if the directory cannot be made or read, or another server holds its lock.
    pub fn hold(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let mut options = OpenOptions::new();
        let mut lock = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join("server.lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is a courtesy; the refusal is valid without it.
                let _ = lock.read_to_string(&mut holder);
                return Err(DataDirError::Held { path, holder: holder.trim().to_owned() });
            }
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

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
