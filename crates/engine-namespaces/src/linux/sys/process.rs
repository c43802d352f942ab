use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// Not in `libc` with a type that fits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

/// Which side of a clone this is.
pub(crate) enum Cloned {
    Parent { pid: Pid, pidfd: OwnedFd },
    Child,
}

/// Forks. The child may then use everything, since there is no other thread whose locks could stay taken in it.
///
/// # Errors
///
/// The process has a second thread, or the kernel refuses.
pub(crate) fn fork() -> io::Result<Forked> {
    require_one_thread()?;
    // SAFETY: the process has one thread, as just seen, so no lock can be held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        pid => {
            Pid::from_raw(pid).filter(|_| pid > 0).map(Forked::Parent).ok_or_else(io::Error::last_os_error)
        }
    }
}

/// Forks into new user, mount, pid, network, IPC and UTS namespaces, and into the version 2 control group given.
///
/// # Errors
///
/// The process has a second thread, or the kernel refuses.
pub(crate) fn clone_into_namespaces(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    require_one_thread()?;
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_PIDFD;
    // SAFETY: an all-zero clone_args is a valid value of this plain structure.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::try_from(flags).map_err(io::Error::other)?;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    args.pidfd = std::ptr::from_mut(&mut pidfd).expose_provenance() as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child gets a copy of the memory, as after fork; the process has one thread, as just
    // seen, so no lock can be held by a thread that the child lacks; `args` and `pidfd` outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match result {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // SAFETY: the kernel has just put a new descriptor there that nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            pid.map(|pid| Cloned::Parent { pid, pidfd }).ok_or_else(|| io::Error::other("clone3 gave no pid"))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Nobody but the calling thread can start a second one, so the answer stays true until it does.
fn require_one_thread() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.take(2).count();
    if threads == 1 { Ok(()) } else { Err(io::Error::other("the process has more than one thread")) }
}

/// Leaves the process at once, running no destructors: they belong to the process this one was forked from.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: never returns and touches nothing.
    unsafe { libc::_exit(code) }
}

/// Gives the process a session keyring of its own, so that none of the host's is reachable.
pub(crate) fn join_new_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name is documented to mean an anonymous keyring.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the ids used for file access, so that what this thread does to files happens as `id`.
pub(crate) fn set_filesystem_ids(id: u32) -> io::Result<()> {
    // SAFETY: plain system calls on integers.
    unsafe {
        libc::setfsgid(id);
        libc::setfsuid(id);
    }
    // They report no errors: ask again (an id of -1 changes nothing and returns the current one).
    // SAFETY: as above.
    let (gid, uid) = unsafe { (libc::setfsgid(u32::MAX), libc::setfsuid(u32::MAX)) };
    let is_wanted = |found: i32| u32::try_from(found) == Ok(id);
    if is_wanted(gid) && is_wanted(uid) {
        Ok(())
    } else {
        Err(io::Error::other("file system ids did not change"))
    }
}

/// Undoes what was inherited: every signal at its default action and none blocked.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no handler; errors (for signals that cannot be changed) do not matter.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised by sigemptyset before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Makes the calling process's control groups the roots of what it and its children see.
pub(crate) fn unshare_cgroups() -> io::Result<()> {
    // SAFETY: of all that can be unshared this touches neither memory nor descriptors.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets the clocks that count from the host's boot begin at zero for the processes made from now on. Kernels without
/// namespaces for that, and containers without the right to set them, go on with the host's.
pub(crate) fn start_clocks_anew() {
    // SAFETY: of all that can be unshared this touches neither memory nor descriptors, nor this process.
    if unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
        return;
    }
    let clocks =
        [("monotonic", rustix::time::ClockId::Monotonic), ("boottime", rustix::time::ClockId::Boottime)];
    let line = |(name, clock)| format!("{name} -{} 0\n", rustix::time::clock_gettime(clock).tv_sec);
    let _not_allowed = std::fs::write("/proc/self/timens_offsets", clocks.map(line).concat());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_another_thread_is_not_forked() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || ended.recv());
        for refused in [fork().map(drop), clone_into_namespaces(None).map(drop)] {
            assert_eq!(refused.unwrap_err().to_string(), "the process has more than one thread");
        }
        drop(end);
        let _ended = other.join().unwrap();
    }
}
