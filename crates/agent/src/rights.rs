//! Doing work on files with a user's rights instead of root's: this thread's, for a while.

#![expect(
    unsafe_code,
    reason = "the kernel has these ids by thread, and the libraries have no safe way to say them"
)]

use std::io;
use std::marker::PhantomData;

use rustix::process::{DumpableBehavior, Gid, geteuid, getgroups, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups};

use crate::user::{self, User};

/// What lets root pass by the rights of files.
const OVER_FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::LINUX_IMMUTABLE);

/// A group nobody is in.
const NO_GROUP: u32 = 65534;

/// With whose rights something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The agent's.
    Own,
    /// Those of a user.
    Of { uid: u32, groups: Vec<u32> },
}

impl Rights {
    /// Those of the user with this id.
    pub(crate) fn of(uid: u32) -> io::Result<Self> {
        let found = user::find_id(uid).map_err(io::Error::other)?;
        Ok(Self::Of { uid, groups: found.map_or_else(|| vec![NO_GROUP], |user| user.groups) })
    }

    /// Those that `user` has.
    pub(crate) fn of_user(user: &User) -> Self {
        if user.uid == 0 { Self::Own } else { Self::Of { uid: user.uid, groups: user.groups.clone() } }
    }

    pub(crate) fn are_own(&self) -> bool {
        *self == Self::Own
    }

    /// Until what is returned is dropped, this thread works on files with these rights.
    pub(crate) fn assume(&self) -> io::Result<Assumed> {
        let Self::Of { uid, groups } = self else { return Ok(Assumed::nothing()) };
        let gid = groups.first().copied().unwrap_or(NO_GROUP);
        Assumed::ids(*uid, gid, groups, OVER_FILES)
    }

    /// Like [`Rights::assume`], and what this thread makes is `owner`'s from the start, as far as the rights reach: who gave
    /// it away by its name later would give away whatever has got that name meanwhile. The agent's own rights reach
    /// everywhere, but give away nothing that is not the owner's.
    pub(crate) fn assume_for(&self, owner: (u32, u32)) -> io::Result<Assumed> {
        match self {
            Self::Own => Assumed::ids(owner.0, owner.1, &[owner.1], CapabilitySet::CHOWN),
            Self::Of { .. } => self.assume(),
        }
    }
}

/// The rights of a thread, until it is dropped; then they are what they were before.
pub(crate) struct Assumed {
    before: Option<Before>,
    /// They are those of one thread.
    thread: PhantomData<*const ()>,
}

struct Before {
    ids: (u32, u32),
    sets: CapabilitySets,
    groups: Vec<Gid>,
}

impl Assumed {
    fn nothing() -> Self {
        Self { before: None, thread: PhantomData }
    }

    fn ids(uid: u32, gid: u32, groups: &[u32], without: CapabilitySet) -> io::Result<Self> {
        if !geteuid().is_root() {
            // There is nothing to give up.
            return Ok(Self::nothing());
        }
        let before = Before { ids: ids(), sets: capabilities(None)?, groups: getgroups()? };
        let gids: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&gids)?;
        let mut sets = before.sets;
        // Whatever fails from here on is undone by dropping it.
        let assumed = Self { before: Some(before), thread: PhantomData };
        set_ids(uid, gid)?;
        // The kernel takes some, or gives them back, with the ids.
        sets.effective = sets.effective.difference(without);
        set_capabilities(None, sets)?;
        Ok(assumed)
    }
}

impl Drop for Assumed {
    fn drop(&mut self) {
        let Some(Before { ids, sets, groups }) = self.before.take() else { return };
        let back = || {
            set_ids(ids.0, ids.1)?;
            set_capabilities(None, sets)?;
            Ok::<_, io::Error>(set_thread_groups(&groups)?)
        };
        // A thread that went on with a stranger's rights would fail in other requests, without a word of why.
        if back().is_err() {
            std::process::abort();
        }
    }
}

/// The ids that count for files, of this thread.
fn ids() -> (u32, u32) {
    // An id of -1 changes nothing and returns the one there is.
    // SAFETY: plain system calls on integers.
    let now = unsafe { (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX)) };
    (now.0.cast_unsigned(), now.1.cast_unsigned())
}

/// Sets the ids that count for files, of this thread.
fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain system calls on integers.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    // They report no errors.
    if ids() != (uid, gid) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // With other ids the kernel falls back to what the host's `fs.suid_dumpable` says, which may let others look at us.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};

    #[test]
    fn what_is_made_for_an_owner_is_theirs_at_once_and_nothing_else_becomes_theirs() {
        if !geteuid().is_root() {
            return;
        }
        let keep = tempfile::tempdir().unwrap();
        let at = |name: &str| keep.path().join(name);
        std::fs::set_permissions(keep.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(at("root"), "").unwrap();
        let owner = (65534, 65533);
        {
            let _assumed = Rights::Own.assume_for(owner).unwrap();
            std::fs::create_dir(at("directory")).unwrap();
            symlink("x", at("link")).unwrap();
            std::fs::write(at("file"), "").unwrap();
            for uid in [owner.0, 7] {
                let refused = lchown(at("root"), Some(uid), Some(owner.1)).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            }
            lchown(at("file"), Some(owner.0), Some(owner.1)).unwrap();
            {
                let _nested = Rights::Of { uid: 7, groups: vec![8] }.assume().unwrap();
                assert!(std::fs::read_dir(keep.path()).is_err());
            }
            std::fs::write(at("after"), "").unwrap();
        }
        for name in ["directory", "link", "file", "after"] {
            let found = std::fs::symlink_metadata(at(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), owner, "{name}");
        }
        lchown(at("root"), Some(owner.0), None).unwrap();
        std::fs::write(at("again"), "").unwrap();
        assert_eq!(std::fs::metadata(at("again")).unwrap().uid(), 0);
    }
}
