//! A process on its way to becoming a program, and what it does on that way.
//!
//! Own code, because the standard library waits until it is there. Between fork and exec it is a process like any other:
//! whoever may send it signals can stop it, and would stop the agent, which would wait for ever.

#![expect(unsafe_code, reason = "a fork has two sides, and memory is all that the new one has")]

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid};
use tokio::net::unix::pipe;

/// Where scripts without a first line that says who reads them go.
const SHELL: &std::ffi::CStr = c"/bin/sh";
/// Where the new process reports, once it has nothing else open but what its program gets.
const REPORT: RawFd = 3;
/// What a process that became no program leaves with; nobody sees it.
const NO_PROGRAM: i32 = 127;

/// The user that a process becomes.
pub(super) struct Identity {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

/// Everything that a process needs to become a program, made ready before there is one: it may allocate nothing.
pub(super) struct Program {
    /// Where it may be, in this order.
    pub(super) places: Vec<CString>,
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    pub(super) cwd: CString,
    /// `None` where it stays who it is.
    pub(super) identity: Option<Identity>,
    pub(super) stdio: [OwnedFd; 3],
    /// Whether that is a terminal, which becomes its own.
    pub(super) terminal: bool,
}

/// A process that has been started, and how far it came.
pub(super) struct Started {
    pub(super) pid: Pid,
    /// Closed when it became a program; otherwise the reason comes first.
    pub(super) outcome: pipe::Receiver,
}

impl Program {
    /// Starts it, and waits for nothing.
    ///
    /// # Errors
    ///
    /// The kernel gives no process or pipe.
    pub(super) fn start(self) -> io::Result<Started> {
        let (outcome, report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // Nothing may fail once there is a process.
        let outcome = pipe::Receiver::from_owned_fd(outcome)?;
        let argv = pointers(&self.arguments);
        let envp = pointers(&self.environment);
        // The second one is put there when it is known; what follows are the program's own arguments.
        let mut shell = vec![SHELL.as_ptr(), SHELL.as_ptr()];
        shell.extend(argv.iter().skip(1));
        // SAFETY: the child has one thread, and calls nothing before it becomes a program or leaves but what may be called
        // there: system calls on what was made ready above.
        match unsafe { libc::fork() } {
            0 => {
                let (report, error) = match self.put_descriptors(&report) {
                    Err(error) => (report.as_fd(), error),
                    // SAFETY: as above; the arrays end with null pointers, and what they point to lives in `self`. The
                    // report was just put there.
                    Ok(()) => unsafe {
                        let error = self.become_program(&argv, &envp, &mut shell);
                        (BorrowedFd::borrow_raw(REPORT), error)
                    },
                };
                let _parent_gone = rustix::io::write(report, &error.raw_os_error().to_ne_bytes());
                // SAFETY: never returns, and runs nothing of the parent's.
                unsafe { libc::_exit(NO_PROGRAM) }
            }
            pid => {
                let pid = if pid > 0 { Pid::from_raw(pid) } else { None };
                pid.map(|pid| Started { pid, outcome }).ok_or_else(io::Error::last_os_error)
            }
        }
    }

    /// # Safety
    ///
    /// To be called by a process that was just forked, with arrays that end with null pointers. It has no descriptors above
    /// [`REPORT`] from then on.
    unsafe fn become_program(
        &self,
        argv: &[*const c_char],
        envp: &[*const c_char],
        shell: &mut [*const c_char],
    ) -> Errno {
        // SAFETY: as the caller promises.
        if let Err(error) = unsafe { close_all_above(REPORT) }.and_then(|()| self.prepare()) {
            return error;
        }
        let mut denied = None;
        for place in &self.places {
            // SAFETY: as the caller promises.
            unsafe { libc::execve(place.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
            let mut error = last_error();
            if error == Errno::NOEXEC {
                if let Some(script) = shell.get_mut(1) {
                    *script = place.as_ptr();
                }
                // SAFETY: as the caller promises.
                unsafe { libc::execve(SHELL.as_ptr(), shell.as_ptr(), envp.as_ptr()) };
                error = last_error();
            }
            match error {
                Errno::ACCESS => denied = Some(error),
                Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {}
                error => return error,
            }
        }
        denied.unwrap_or(Errno::NOENT)
    }

    /// Puts the program's own where it looks for them, and the report next to them.
    fn put_descriptors(&self, report: &OwnedFd) -> rustix::io::Result<()> {
        let [stdin, stdout, stderr] = &self.stdio;
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)?;
        // Last: one of the above may be there.
        if report.as_raw_fd() == REPORT {
            return Ok(());
        }
        // SAFETY: touches no memory; whose descriptor that is runs in another process.
        match unsafe { libc::dup3(report.as_raw_fd(), REPORT, libc::O_CLOEXEC) } {
            REPORT => Ok(()),
            _ => Err(last_error()),
        }
    }

    fn prepare(&self) -> rustix::io::Result<()> {
        // SAFETY: the set is initialised by `sigemptyset` before it is read; no handler is installed.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        rustix::process::setsid()?;
        if self.terminal {
            // SAFETY: it was just put there, and stays.
            rustix::process::ioctl_tiocsctty(unsafe { BorrowedFd::borrow_raw(0) })?;
        }
        if let Some(Identity { uid, gid, groups }) = &self.identity {
            rustix::thread::set_thread_groups(groups)?;
            rustix::thread::set_thread_res_gid(*gid, *gid, *gid)?;
            rustix::thread::set_thread_res_uid(*uid, *uid, *uid)?;
            // Its memory is a copy of ours until it has become the program. The kernel closes it to the user's others
            // unless the host's `fs.suid_dumpable` is 1.
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        }
        // After the change of user: a directory the user may not enter must not be entered with our rights.
        rustix::process::chdir(self.cwd.as_c_str())?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(())
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Closes every descriptor above `last`: as soon as this is another user's process, that user's others may take from it what
/// is open.
///
/// # Safety
///
/// Nothing may use those any more, in this process.
unsafe fn close_all_above(last: RawFd) -> rustix::io::Result<()> {
    // SAFETY: touches no memory; nobody uses what it closes, as the caller promises.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, last + 1, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Where a program called `name` may be.
pub(super) fn places(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    // An empty directory is the current one.
    let place = |dir: &str| if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") };
    path.split(':').map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_path() {
        assert_eq!(places("ls", "/bin:/usr/bin"), ["/bin/ls", "/usr/bin/ls"]);
        assert_eq!(places("ls", "/bin::x"), ["/bin/ls", "./ls", "x/ls"]);
        assert_eq!(places("./ls", "/bin"), ["./ls"]);
        assert_eq!(places("/a/ls", ""), ["/a/ls"]);
    }
}
