//! Whether a file can go from where it is. To be asked before it is copied, where its going is part of the work.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::{
    Access, AtFlags, CWD, Mode, OFlags, StatVfsMountFlags, StatxAttributes, StatxFlags, accessat, fstatvfs,
    open, statx,
};

use crate::file_systems::Kind;

/// # Errors
///
/// The file is part of what the kernel makes up, of a file system that cannot be written, or held in its place.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let denied = |why| Err(io::Error::new(ErrorKind::PermissionDenied, why));
    let Some(parent) = path.parent() else { return denied("it is the root directory") };
    let directory = open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    if fstatvfs(&directory)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(ErrorKind::ReadOnlyFilesystem.into());
    }
    if Kind::of(&directory)? == Kind::MadeUp {
        return denied("it cannot be removed: the kernel makes it up");
    }
    // By the rights that count at the moment, which need not be root's.
    accessat(CWD, parent, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
    let held = |path, flags| match statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes),
        Err(error) => Err(io::Error::from(error)),
    };
    let fixed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    if held(parent, AtFlags::empty())?.intersects(fixed)
        || held(path, AtFlags::SYMLINK_NOFOLLOW)?.intersects(fixed | StatxAttributes::MOUNT_ROOT)
    {
        return denied("it cannot be removed: it is immutable, append-only, or mounted there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_go() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        std::fs::write(&file, "").unwrap();
        assert!(check(&file).is_ok());
        assert_eq!(check(&directory.path().join("no")).unwrap_err().kind(), ErrorKind::NotFound);
        for path in ["/", "/proc/cpuinfo", "/sys/kernel/notes", "/proc"] {
            assert_eq!(check(path.as_ref()).unwrap_err().kind(), ErrorKind::PermissionDenied, "{path}");
        }
    }
}
