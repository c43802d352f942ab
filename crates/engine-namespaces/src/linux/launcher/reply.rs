use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::linux::channel;
use crate::linux::protocol::{Done, Failure, InStep as _, Reply};

/// Answers the server's request of that number.
pub(super) fn reply(
    socket: impl AsFd,
    number: u64,
    result: Result<Done, Failure>,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Failure> {
    match channel::send(socket, &Reply { number, result }, fds) {
        // The server is gone; so shall the launcher be, at the next receive.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.step("answer the server"),
    }
}
