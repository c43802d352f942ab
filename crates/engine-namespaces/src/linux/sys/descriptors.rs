use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The first number that is neither standard input, output nor error.
const FIRST: RawFd = 3;

/// Above every number that [`keep_only`] gives.
pub(crate) const OUT_OF_THE_WAY: RawFd = 64;

/// What becomes of a descriptor when the process becomes another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtExec {
    Stays,
    Closes,
}

/// Gives duplicates of `kept` the numbers from 3 on, in this order, and closes every other descriptor from there on.
///
/// # Safety
///
/// Nobody may use or close any other descriptor above 2 afterwards, those behind `kept` included: their owners are
/// forgotten, or the process leaves by [`exec_fd`] or [`exit_now`](super::exit_now) before they are dropped.
///
/// # Errors
///
/// The kernel refuses. Numbers below [`OUT_OF_THE_WAY`] may have been given then; those above are as they were.
pub(crate) unsafe fn keep_only<const N: usize>(
    kept: [(BorrowedFd<'_>, AtExec); N],
) -> io::Result<[OwnedFd; N]> {
    const { assert!(N < 32, "the numbers given must not come out of the way") };
    // First out of the way of the numbers wanted, then down to them.
    let mut high = Vec::with_capacity(N);
    for (fd, at_exec) in kept {
        high.push((rustix::io::fcntl_dupfd_cloexec(fd, OUT_OF_THE_WAY)?, at_exec));
    }
    for ((fd, at_exec), number) in high.iter().zip(FIRST..) {
        let flags = if *at_exec == AtExec::Stays { 0 } else { libc::O_CLOEXEC };
        // SAFETY: touches no memory; the owner of that number does not use it again, as the caller promises.
        if unsafe { libc::dup3(fd.as_raw_fd(), number, flags) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let end = high.iter().zip(FIRST..).last().map_or(FIRST, |(_, number)| number + 1);
    // Closed with all others.
    std::mem::forget(high);
    // SAFETY: touches no memory; the owners of these do not use them again, as the caller promises.
    if unsafe { libc::syscall(libc::SYS_close_range, end, libc::c_uint::MAX, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut number = FIRST;
    Ok([(); N].map(|()| {
        // SAFETY: `dup3` has opened this number, and its former owner does not use it again, as the caller promises.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        number += 1;
        fd
    }))
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
