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
use crate::pool::Caller;
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

/// `None` where it takes long, which it may only with a `caller`: what the kernel cannot move has to be copied.
pub(super) fn rename(
    source: &str,
    destination: &str,
    owner: Owner,
    caller: Option<&Caller<'_>>,
) -> Result<Option<EntryInfo>, ConnectError> {
    if let Err(error) = fs::symlink_metadata(source) {
        return Err(match error.kind() {
            ErrorKind::NotFound => not_found(format!("source file not found: {source}")),
            _ => failed("cannot move", source, &error),
        });
    }
    let from =
        Place::find(source, Last::Itself, None).map_err(|error| failed("cannot move", source, &error))?;
    let moved = Place::find(destination, Last::Itself, Some(owner)).and_then(|to| {
        from.act_with(&to, |source, destination, rights| match (fs::rename(source, destination), caller) {
            (Err(error), None) if error.kind() == ErrorKind::CrossesDevices => Ok(false),
            (Err(error), Some(caller)) if error.kind() == ErrorKind::CrossesDevices => {
                relocate(source, destination, rights, caller).map(|()| true)
            }
            (result, _) => result.map(|()| true),
        })
    });
    match moved {
        Ok(true) => stat(destination).map(Some),
        Ok(false) => Ok(None),
        Err(error) => Err(failed("cannot move to", destination, &error)),
    }
}

/// `None` where it takes long, which it may only with a `caller`: a directory cannot just go.
pub(super) fn remove(path: &str, caller: Option<&Caller<'_>>) -> Result<Option<()>, ConnectError> {
    if path == "/" {
        return Err(ConnectError::new(Code::InvalidArgument, "the root directory cannot be removed"));
    }
    let remove = |path: &Path| match (fs::symlink_metadata(path)?.is_dir(), caller) {
        (false, _) => fs::remove_file(path).map(Some),
        // Whatever is in its way is said of the tree.
        (true, None) => Ok(fs::remove_dir(path).ok()),
        (true, Some(caller)) => remove_tree(path, caller).map(Some),
    };
    match Place::find(path, Last::Itself, None).and_then(|place| place.act(remove)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Some(())),
        result => result.map_err(|error| failed("cannot remove", path, &error)),
    }
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
