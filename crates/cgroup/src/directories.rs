//! The directories that control groups are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::CgroupError;
use crate::power;

/// How deep below a set's directory leftovers are looked for.
const LEFTOVER_DEPTH: u32 = 8;

/// The directories in `dir`; none where it is gone.
pub(crate) fn children(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(CgroupError::file("list", dir, source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| CgroupError::file("list", dir, source))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes directories and what groups may have been made below them; busy ones again and again until `limit`.
pub(crate) fn remove_dirs(dirs: &[PathBuf], limit: Duration) -> Result<(), CgroupError> {
    for dir in dirs {
        power::wait_until(dir, "removable", limit, || match remove_tree(dir, LEFTOVER_DEPTH) {
            Ok(()) => Ok(true),
            Err(error) if error.is_busy() => Ok(false),
            Err(error) => Err(error),
        })?;
    }
    Ok(())
}

fn remove_tree(dir: &Path, depth: u32) -> Result<(), CgroupError> {
    match remove_dir(dir) {
        Err(error) if error.is_busy() && depth > 0 => {
            for child in children(dir)? {
                remove_tree(&child, depth - 1)?;
            }
            remove_dir(dir)
        }
        outcome => outcome,
    }
}

/// Removes an empty directory; one that is gone is fine.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), CgroupError> {
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CgroupError::file("remove", dir, error))
        }
        _ => Ok(()),
    }
}
