//! Files and directories that are this user's own: what others could choose or change is not used.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// What a mode lets others do.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// Opens a file of the data directory. A link in its place is not followed.
pub(crate) fn open_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = flagged(options, OFlags::NOFOLLOW).open(path).map_err(|error| explain(error, path))?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(refusal(path, "is no file: move it away"));
    }
    check_owner(path, found.uid())?;
    close_to_others(&file, found.mode())?;
    Ok(file)
}

/// Insists that the directory is this user's alone. What only let others look is closed to them; where others could
/// write, nobody knows what is theirs in it.
pub(crate) fn check_dir(path: &Path) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let dir = flagged(OpenOptions::new().read(true), flags).open(path)?;
    let found = dir.metadata()?;
    check_owner(path, found.uid())?;
    let mode = found.mode();
    if mode & OTHERS_WRITE != 0 {
        let why = format!(
            "can be written by others (mode {:03o}): see that all in it is yours, then chmod 700 it",
            mode & 0o777
        );
        return Err(refusal(path, &why));
    }
    if mode & OTHERS != 0 {
        tracing::warn!(path = %path.display(), "the data directory was open to others; it is closed to them now");
    }
    close_to_others(&dir, mode)
}

fn flagged(options: &mut OpenOptions, flags: OFlags) -> &mut OpenOptions {
    options.custom_flags(i32::try_from((flags | OFlags::CLOEXEC).bits()).unwrap_or_default())
}

fn check_owner(path: &Path, owner: u32) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if owner == own {
        return Ok(());
    }
    let why = format!("belongs to user {owner}, this is user {own}: chown it if all in it is yours");
    Err(refusal(path, &why))
}

fn close_to_others(opened: &File, mode: u32) -> io::Result<()> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    match opened.set_permissions(Permissions::from_mode(mode & 0o700)) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        outcome => outcome,
    }
}

fn explain(error: io::Error, path: &Path) -> io::Error {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return refusal(path, "is a link: move it away");
    }
    error
}

fn refusal(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
}
