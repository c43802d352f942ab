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
        let Self::Of { uid, groups } = self else { return Ok(Assumed { before: None, thread: PhantomData }) };
        if !geteuid().is_root() {
            // There is nothing to give up.
            return Ok(Assumed { before: None, thread: PhantomData });
        }
        let before = (capabilities(None)?, getgroups()?);
        let gids: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&gids)?;
        let mut sets = before.0;
        // Whatever fails from here on is undone by dropping it.
        let assumed = Assumed { before: Some(before), thread: PhantomData };
        set_ids(*uid, groups.first().copied().unwrap_or(NO_GROUP))?;
        sets.effective = sets.effective.difference(OVER_FILES);
        set_capabilities(None, sets)?;
        Ok(assumed)
    }
}

/// The rights of a thread, until it is dropped.
pub(crate) struct Assumed {
    before: Option<(CapabilitySets, Vec<Gid>)>,
    /// They are those of one thread.
    thread: PhantomData<*const ()>,
}

impl Drop for Assumed {
    fn drop(&mut self) {
        let Some((sets, groups)) = self.before.take() else { return };
        let back = || {
            set_ids(0, 0)?;
            set_capabilities(None, sets)?;
            Ok::<_, io::Error>(set_thread_groups(&groups)?)
        };
        // A thread that went on with a stranger's rights would fail in other requests, without a word of why.
        if back().is_err() {
            std::process::abort();
        }
    }
}

/// Sets the ids that count for files, of this thread.
fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain system calls on integers.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    // They report no errors; an id of -1 changes nothing and returns the one there is.
    // SAFETY: as above.
    let now = unsafe { (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX)) };
    let is = |found: i32, wanted: u32| found.cast_unsigned() == wanted;
    if !is(now.0, uid) || !is(now.1, gid) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // With other ids the kernel falls back to what the host's `fs.suid_dumpable` says, which may let others look at us.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
