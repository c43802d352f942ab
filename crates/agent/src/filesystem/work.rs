use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, lchown};

use sandscope_agent_protocol::filesystem::{EntryInfo, ListDirResponse};
use sandscope_agent_protocol::{Code, ConnectError};

use super::entry::describe;
use super::remove::remove_tree;
use crate::user::Names;

/// Entries in one listing.
const MAX_ENTRIES: usize = 20_000;

/// What those may say together, in bytes: paths, links and attributes may each be long, and the answer is put together
/// in memory that the agent shares with everybody inside.
const MAX_LISTING_BYTES: usize = 8 * 1024 * 1024;

type Owner = (u32, u32);

pub(super) fn stat(path: &str) -> Result<EntryInfo, ConnectError> {
    describe(path, &Names::read()).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => not_found(format!("file not found: {path}")),
        _ => failed("cannot stat", path, &error),
    })
}

pub(super) fn make_dir(path: &str, owner: Owner) -> Result<EntryInfo, ConnectError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            let message = format!("directory already exists: {path}");
            return Err(ConnectError::new(Code::AlreadyExists, message));
        }
        Ok(_) => {
            let message = format!("path already exists but it is not a directory: {path}");
            return Err(ConnectError::new(Code::InvalidArgument, message));
        }
        Err(_) => {}
    }
    make_all(path, owner).map_err(|error| failed("cannot make directory", path, &error))?;
    stat(path)
}

pub(super) fn rename(source: &str, destination: &str, owner: Owner) -> Result<EntryInfo, ConnectError> {
    if let Err(error) = fs::symlink_metadata(source) {
        return Err(match error.kind() {
            ErrorKind::NotFound => not_found(format!("source file not found: {source}")),
            _ => failed("cannot move", source, &error),
        });
    }
    make_parents(destination, owner).map_err(|error| failed("cannot move to", destination, &error))?;
    fs::rename(source, destination).map_err(|error| failed("cannot move to", destination, &error))?;
    stat(destination)
}

pub(super) fn remove(path: &str) -> Result<(), ConnectError> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(failed("cannot remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Everything up to `depth` levels below `path`, in the order of the paths. Links are listed, not followed, but
/// for `path` itself.
pub(super) fn list(path: &str, depth: u32) -> Result<ListDirResponse, ConnectError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let message = format!("path is not a directory: {path}");
            return Err(ConnectError::new(Code::InvalidArgument, message));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(not_found(format!("path not found: {path}")));
        }
        Err(error) => return Err(failed("cannot list", path, &error)),
    }
    let names = Names::read();
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut directories = VecDeque::from([(path.to_owned(), depth.max(1))]);
    while let Some((directory, depth)) = directories.pop_front() {
        let found = match fs::read_dir(&directory) {
            Ok(found) => found,
            // Removed while we looked at others.
            Err(error) if error.kind() == ErrorKind::NotFound && directory != path => continue,
            Err(error) => return Err(failed("cannot list", &directory, &error)),
        };
        for found in found {
            let found = found.map_err(|error| failed("cannot list", &directory, &error))?;
            let name = found.file_name();
            let child = format!("{}/{}", directory.trim_end_matches('/'), name.to_string_lossy());
            if depth > 1 && found.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push_back((child.clone(), depth - 1));
            }
            // What vanished meanwhile, or has a name that is no text, cannot be described.
            if let Ok(entry) = describe(&child, &names) {
                bytes += size(&entry);
                entries.push(entry);
            }
            if bytes > MAX_LISTING_BYTES {
                let message =
                    format!("more than {MAX_LISTING_BYTES} bytes of names; list fewer levels: {path}");
                return Err(ConnectError::new(Code::ResourceExhausted, message));
            }
            if entries.len() > MAX_ENTRIES || directories.len() > MAX_ENTRIES {
                let message = format!("more than {MAX_ENTRIES} entries; list fewer levels: {path}");
                return Err(ConnectError::new(Code::ResourceExhausted, message));
            }
        }
    }
    entries.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    Ok(ListDirResponse { entries })
}

/// Bytes of an entry's texts that have no small bound.
fn size(entry: &EntryInfo) -> usize {
    let attributes = entry.metadata.iter().map(|(name, value)| name.len() + value.len());
    entry.path.len() + entry.symlink_target.as_ref().map_or(0, String::len) + attributes.sum::<usize>()
}

/// Makes the directories above `path` that are missing, and gives them to `owner`.
pub(crate) fn make_parents(path: &str, owner: Owner) -> io::Result<()> {
    match path.rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => make_all(parent, owner),
        _ => Ok(()),
    }
}

fn make_all(path: &str, owner: Owner) -> io::Result<()> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for end in ends.chain([path.len()]) {
        let directory = &path[..end];
        match fs::DirBuilder::new().mode(0o755).create(directory) {
            Ok(()) => lchown(directory, Some(owner.0), Some(owner.1))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // On a file system that cannot be written, what exists is still there.
            Err(error) if fs::metadata(directory).is_ok_and(|found| found.is_dir()) => drop(error),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn not_found(message: String) -> ConnectError {
    ConnectError::new(Code::NotFound, message)
}

fn failed(what: &str, path: &str, error: &io::Error) -> ConnectError {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::PermissionDenied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::DirectoryNotEmpty
        | ErrorKind::AlreadyExists
        | ErrorKind::InvalidInput
        | ErrorKind::InvalidFilename
        | ErrorKind::CrossesDevices => Code::InvalidArgument,
        _ => Code::Internal,
    };
    ConnectError::new(code, format!("{what} '{path}': {error}"))
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
