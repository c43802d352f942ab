//! Listing a directory. The answer is written while walking, so that memory holds its bytes and the names still to be
//! described, both bounded, whatever is in the directory.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use sandscope_agent_protocol::{Code, ConnectError};

use super::failure::{failed, not_found};
use crate::entry::describe;
use crate::user::Names;

/// Entries in one listing.
pub(super) const MAX_ENTRIES: usize = 20_000;

/// Levels of directories in one listing. Whoever asks for more means all there are, and there may not be more.
pub(super) const MAX_DEPTH: usize = 256;

/// The answer, in bytes: paths, links and attributes may each be long, and it is put together in memory that the agent
/// shares with everybody inside.
pub(super) const MAX_LISTING_BYTES: usize = 8 * 1024 * 1024;

/// A directory whose entries are being described, the last name first.
struct Level {
    path: PathBuf,
    names: Vec<(OsString, bool)>,
}

/// The answer of `ListDir`: everything up to `depth` levels below `path`, in the order of the paths. Links are listed,
/// not followed, but for `path` itself.
pub(super) fn list(path: &str, depth: u32) -> Result<Vec<u8>, ConnectError> {
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
    let depth = usize::try_from(depth.max(1)).unwrap_or(usize::MAX);
    let names = Names::read();
    let mut answer = br#"{"entries":["#.to_vec();
    let mut seen = 0;
    let mut levels = vec![read(Path::new(path), &mut seen).map_err(|error| refused(path, error))?];
    while let Some(level) = levels.last_mut() {
        let Some((name, is_directory)) = level.names.pop() else {
            levels.pop();
            continue;
        };
        let child = level.path.join(name);
        // What vanished meanwhile cannot be described.
        let Ok(entry) = describe(&child, &names) else { continue };
        if !answer.ends_with(b"[") {
            answer.push(b',');
        }
        serde_json::to_writer(&mut answer, &entry)
            .map_err(|error| ConnectError::new(Code::Internal, error.to_string()))?;
        if answer.len() > MAX_LISTING_BYTES {
            let message =
                format!("more than {MAX_LISTING_BYTES} bytes of entries; list fewer levels: {path}");
            return Err(ConnectError::new(Code::ResourceExhausted, message));
        }
        if is_directory && levels.len() < depth {
            if levels.len() >= MAX_DEPTH {
                let message = format!("more than {MAX_DEPTH} levels; list one of the lower ones: {path}");
                return Err(ConnectError::new(Code::ResourceExhausted, message));
            }
            match read(&child, &mut seen) {
                Ok(level) => levels.push(level),
                // Gone meanwhile, or nothing that may be looked into: it has its own entry, as on the level that is last.
                Err(Refused::Failed(_)) => {}
                Err(error) => return Err(refused(&child.to_string_lossy(), error)),
            }
        }
    }
    answer.extend_from_slice(b"]}");
    Ok(answer)
}

enum Refused {
    Failed(io::Error),
    TooMany,
}

/// What is in the directory; `seen` counts the entries of the whole listing.
fn read(path: &Path, seen: &mut usize) -> Result<Level, Refused> {
    let mut names = Vec::new();
    for found in fs::read_dir(path).map_err(Refused::Failed)? {
        let found = found.map_err(Refused::Failed)?;
        *seen += 1;
        if *seen > MAX_ENTRIES {
            return Err(Refused::TooMany);
        }
        let is_directory = found.file_type().is_ok_and(|kind| kind.is_dir());
        names.push((found.file_name(), is_directory));
    }
    names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    Ok(Level { path: path.to_owned(), names })
}

fn refused(path: &str, error: Refused) -> ConnectError {
    match error {
        Refused::Failed(error) => failed("cannot list", path, &error),
        Refused::TooMany => ConnectError::new(
            Code::ResourceExhausted,
            format!("more than {MAX_ENTRIES} entries; list fewer levels: {path}"),
        ),
    }
}
