use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use sandscope_agent_protocol::filesystem::EntryInfo;
use sandscope_agent_protocol::{Code, ConnectError};

use super::failure::{failed, not_found};
use super::relocate::relocate;
use super::remove::remove_tree;
use crate::entry::describe;
use crate::place::{Last, Owner, Place};
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
    let made = Place::find(path, Last::Itself, Some(owner)).and_then(|place| place.make_directory(owner));
    match made {
        // Made by somebody else at the same time.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        result => result.map_err(|error| failed("cannot make directory", path, &error))?,
    }
    stat(path)
}

pub(super) fn rename(source: &str, destination: &str, owner: Owner) -> Result<EntryInfo, ConnectError> {
    if let Err(error) = fs::symlink_metadata(source) {
        return Err(match error.kind() {
            ErrorKind::NotFound => not_found(format!("source file not found: {source}")),
            _ => failed("cannot move", source, &error),
        });
    }
    let from =
        Place::find(source, Last::Itself, None).map_err(|error| failed("cannot move", source, &error))?;
    Place::find(destination, Last::Itself, Some(owner))
        .and_then(|to| from.act_with(&to, relocate))
        .map_err(|error| failed("cannot move to", destination, &error))?;
    stat(destination)
}

pub(super) fn remove(path: &str) -> Result<(), ConnectError> {
    if path == "/" {
        return Err(ConnectError::new(Code::InvalidArgument, "the root directory cannot be removed"));
    }
    let remove = |path: &Path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match Place::find(path, Last::Itself, None).and_then(|place| place.act(remove)) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(failed("cannot remove", path, &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
