use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, lchown};
use std::path::Path;

use sandscope_agent_protocol::filesystem::EntryInfo;
use sandscope_agent_protocol::{Code, ConnectError};

use super::entry::describe;
use super::relocate::relocate;
use super::remove::remove_tree;
use crate::user::Names;

type Owner = (u32, u32);

pub(super) fn stat(path: &str) -> Result<EntryInfo, ConnectError> {
    describe(Path::new(path), &Names::read()).map_err(|error| match error.kind() {
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
    relocate(Path::new(source), Path::new(destination))
        .map_err(|error| failed("cannot move to", destination, &error))?;
    stat(destination)
}

pub(super) fn remove(path: &str) -> Result<(), ConnectError> {
    if path == "/" {
        return Err(ConnectError::new(Code::InvalidArgument, "the root directory cannot be removed"));
    }
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

pub(super) fn not_found(message: String) -> ConnectError {
    ConnectError::new(Code::NotFound, message)
}

pub(super) fn failed(what: &str, path: &str, error: &io::Error) -> ConnectError {
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
