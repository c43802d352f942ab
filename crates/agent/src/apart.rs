//! Setting the agent apart from the programs beside it, who may be the same user.
//!
//! The kernel asks who one is before one may act on a process, and inside a sandbox the agent and everybody's root are the
//! same. Three things make a difference, for every thread of the agent and by whatever id it is named:
//!
//! - its memory belongs to nobody inside: the launcher executes a file that nobody inside can read. So nobody traces it,
//!   reads its memory or its descriptors, or writes its files in `/proc`;
//! - it has one capability that no program has, so nobody changes its priority, processors, scheduling or I/O class;
//! - its saved group is another one, so nobody is the same user to the last id, as the kernel wants of who sets limits.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Pid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Any but root's: `nogroup`.
const SAVED_GROUP: u32 = 65_534;

/// To be called before there is a second thread, which gets all this from the first one, and before the first program.
pub(crate) fn stand_apart() -> Result<(), Errno> {
    // The access token lives in this memory. Where the launcher's part is missing, as outside a sandbox, this is left of it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // What is the agent's own is not to be inherited once more.
    let own = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..own })?;
    // Outside a sandbox it may not even be root.
    if rustix::process::getpid() == Pid::INIT {
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::from_raw(SAVED_GROUP))?;
    }
    Ok(())
}
