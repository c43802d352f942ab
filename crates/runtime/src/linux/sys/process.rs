use std::ffi::CStr;
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

/// Forks. Only the launcher, which has one thread, calls this: the child may then use everything.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the process has a single thread, so no lock can be held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        pid => {
            Pid::from_raw(pid).filter(|_| pid > 0).map(Forked::Parent).ok_or_else(io::Error::last_os_error)
        }
    }
}

/// Clones the calling single-threaded process into new user, mount, pid, network, IPC and UTS namespaces, and into
/// the version 2 control group given.
pub(crate) fn clone_into_namespaces(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
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
    // SAFETY: without CLONE_VM the child gets a copy of the memory, like fork; the process has a single thread;
    // `args` and `pidfd` outlive the call.
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

/// Executes the program in `file`, without environment.
pub(crate) fn exec_fd(file: BorrowedFd<'_>, name: &CStr) -> io::Error {
    let argv = [name.as_ptr(), std::ptr::null()];
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: both arrays end with a null pointer and live until the call returns (which it does only on failure).
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Closes every descriptor from `first` on. Whoever still owns one of them must not use it any more: call it just
/// before `exec`, or with owners forgotten.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: closing descriptors touches no memory; callers hand over ownership as documented.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

/// Duplicates a descriptor to a given number, kept over `exec`.
pub(crate) fn place_at(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    duplicate(fd, number, 0)
}

/// Duplicates a descriptor to a given number, closed on `exec`.
pub(crate) fn place_at_closing(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    duplicate(fd, number, libc::O_CLOEXEC)
}

fn duplicate(fd: BorrowedFd<'_>, number: RawFd, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: only the process about to `exec` comes here; whatever had that number is not used again.
    if unsafe { libc::dup3(fd.as_raw_fd(), number, flags) } >= 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes over a descriptor put at a number by [`place_at_closing`].
pub(crate) fn own_descriptor(number: RawFd) -> OwnedFd {
    // SAFETY: the descriptor was placed at that number by this process and has no other owner.
    unsafe { OwnedFd::from_raw_fd(number) }
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
