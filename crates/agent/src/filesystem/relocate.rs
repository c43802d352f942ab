//! Moving, also from one file system to another, where the kernel cannot: then files and links are copied first, with
//! their owner, mode, times and attributes, and appear at their place whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchown, open,
    readlinkat, symlinkat,
};
use rustix::io::Errno;

use crate::place::denied;
use crate::pool::Caller;
use crate::random;
use crate::regular_file::Identity;
use crate::removable;
use crate::rights::Rights;

/// Attributes of one file that are taken along.
const MAX_NAMES_BYTES: usize = 64 * 1024;

/// Copied at a time, in bytes.
const STEP_BYTES: u64 = 16 * 1024 * 1024;

/// For what the kernel cannot move. Both paths are looked at with `rights`.
pub(super) fn relocate(
    source: &Path,
    destination: &Path,
    rights: &Rights,
    caller: &Caller<'_>,
) -> io::Result<()> {
    if fs::symlink_metadata(destination).is_ok_and(|there| there.is_dir()) {
        return Err(ErrorKind::IsADirectory.into());
    }
    removable::check(source)?;
    // All that is taken along is of what has been opened: another file may get this name at any time.
    let from = File::from(open(source, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    let found = from.metadata()?;
    let kind = found.file_type();
    if !kind.is_file() && !kind.is_symlink() {
        let words = "only files and links can be moved from one file system to another";
        return Err(io::Error::new(ErrorKind::CrossesDevices, words));
    }
    let unfinished = destination.with_file_name(format!(".move-{}", random::word(12)?));
    let copied = if kind.is_symlink() {
        copy_link(&from, &unfinished, &found, rights)
    } else {
        copy(source, &unfinished, &found, caller)
    };
    let done = copied.and_then(|()| fs::rename(&unfinished, destination));
    if done.is_err() {
        // Not there at all is as good.
        let _ = fs::remove_file(&unfinished);
        return done;
    }
    // Another file that has got this name meanwhile has not been moved.
    match fs::symlink_metadata(source) {
        Ok(now) if Identity::from(&now) == Identity::from(&found) => fs::remove_file(source),
        _ => Ok(()),
    }
}

fn copy_link(from: &File, to: &Path, found: &fs::Metadata, rights: &Rights) -> io::Result<()> {
    let target = readlinkat(from, "", Vec::new())?;
    let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    // A link leads where its owner may go: for no moment it is root's.
    let _assumed = rights.assume_for((found.uid(), found.gid()))?;
    symlinkat(target, CWD, to)?;
    // The directory may have passed on its group. These rights give away nothing that is not the owner's.
    Ok(chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy(source: &Path, to: &Path, expected: &fs::Metadata, caller: &Caller<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut from = File::from(open(source, flags, Mode::empty())?);
    let found = from.metadata()?;
    if Identity::from(&found) != Identity::from(expected) {
        return Err(denied("it was exchanged while it was opened"));
    }
    // Nobody else's until it is whole.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    while io::copy(&mut (&mut from).take(STEP_BYTES), &mut file)? > 0 {
        caller.waits()?;
    }
    for name in names(&from)? {
        let mut value = vec![0; MAX_NAMES_BYTES];
        let size = rustix::fs::fgetxattr(&from, name.as_slice(), &mut value)?;
        match rustix::fs::fsetxattr(&file, name.as_slice(), &value[..size], XattrFlags::empty()) {
            // What the other file system cannot keep, or nobody here may set.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    fchown(&file, Some(Uid::from_raw(found.uid())), Some(Gid::from_raw(found.gid())))?;
    file.set_permissions(found.permissions())?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    rustix::fs::futimens(
        &file,
        &Timestamps {
            last_access: time(found.atime(), found.atime_nsec()),
            last_modification: time(found.mtime(), found.mtime_nsec()),
        },
    )?;
    Ok(())
}

fn names(file: &File) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![0; MAX_NAMES_BYTES];
    match rustix::fs::flistxattr(file, &mut names) {
        Ok(size) => {
            let names = names[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty());
            Ok(names.map(<[u8]>::to_vec).collect())
        }
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_file_systems() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let devices = [&here, &there].map(|dir| fs::metadata(dir.path()).unwrap().dev());
        assert_ne!(devices[0], devices[1], "this test needs two file systems");
        let (file, link) = (here.path().join("f"), here.path().join("l"));
        fs::write(&file, "contents").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let before = fs::metadata(&file).unwrap();
        relocate(&file, &there.path().join("g"), &Rights::Own, &Caller::new(&|| false)).unwrap();
        relocate(&link, &there.path().join("m"), &Rights::Own, &Caller::new(&|| false)).unwrap();
        let after = fs::metadata(there.path().join("g")).unwrap();
        assert_eq!(
            (after.mode(), after.mtime(), after.mtime_nsec()),
            (before.mode(), before.mtime(), before.mtime_nsec())
        );
        assert_eq!(fs::read(there.path().join("g")).unwrap(), b"contents");
        assert_eq!(fs::read_link(there.path().join("m")).unwrap(), Path::new("nowhere"));
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);

        // Nobody waits for it.
        fs::write(&file, "contents").unwrap();
        let gone = Caller::new(&|| true);
        assert!(relocate(&file, &there.path().join("h"), &Rights::Own, &gone).is_err());
        assert!(fs::exists(&file).unwrap());
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 2);

        fs::create_dir(here.path().join("d")).unwrap();
        let error =
            relocate(&here.path().join("d"), &there.path().join("d"), &Rights::Own, &Caller::new(&|| false))
                .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CrossesDevices);
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 2);
    }
}
