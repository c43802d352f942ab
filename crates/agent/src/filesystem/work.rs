use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use sandscope_agent_protocol::filesystem::EntryInfo;
use sandscope_agent_protocol::{Code, ConnectError};

use super::failure::{failed, not_found};
use super::relocate::relocate;
use super::remove::remove_tree;
use crate::directories::{Owner, make_all, make_parents};
use crate::entry::describe;
use crate::user::Names;

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

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
