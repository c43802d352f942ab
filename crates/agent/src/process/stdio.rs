//! What connects a process with its caller: pipes or a terminal.

#![expect(unsafe_code, reason = "the runtime has no safe way to watch a descriptor")]

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::pty::OpenptFlags;
use sandscope_agent_protocol::process::{Pty, PtySize};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use super::input::{Terminal, winsize};
use crate::user::User;

/// A terminal's size where the caller names none.
const DEFAULT_SIZE: PtySize = PtySize { cols: 80, rows: 24 };

/// Both sides of a process's input and output.
pub(super) struct Stdio {
    /// Those of the process, as 0, 1 and 2.
    pub(super) ends: [OwnedFd; 3],
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) outputs: Outputs,
}

pub(crate) enum Outputs {
    Pipes { stdout: pipe::Receiver, stderr: pipe::Receiver },
    Terminal(Terminal),
}

/// Makes them, for a process of `user`.
pub(super) fn connections(user: &User, pty: Option<Pty>, stdin: bool) -> io::Result<Stdio> {
    if let Some(pty) = pty {
        let (master, slave) = open_terminal(pty, user)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        // SAFETY: an `OwnedFd` names one open descriptor for as long as it lives, and nobody takes it out of the
        // `AsyncFd` again.
        let master: Terminal = Rc::new(unsafe { AsyncFd::register(master) }?);
        let ends = [slave.try_clone()?, slave.try_clone()?, slave];
        return Ok(Stdio { ends, stdin: None, outputs: Outputs::Terminal(master) });
    }
    let (stdout, stdout_end) = output_pipe(user)?;
    let (stderr, stderr_end) = output_pipe(user)?;
    let (stdin_end, stdin) = if stdin {
        let (read, write) = pipe_for(user)?;
        (read, Some(pipe::Sender::from_owned_fd(write)?))
    } else {
        (nothing_to_read()?, None)
    };
    let ends = [stdin_end, stdout_end, stderr_end];
    Ok(Stdio { ends, stdin, outputs: Outputs::Pipes { stdout, stderr } })
}

/// `/dev/null`; or, where a root file system has no such thing, a pipe whose other end is closed.
fn nothing_to_read() -> io::Result<OwnedFd> {
    // Whatever the sandbox has put there is not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty())
        && FileType::from_raw_mode(rustix::fs::fstat(&null)?.st_mode) == FileType::CharacterDevice
    {
        return Ok(null);
    }
    let (read, _write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok(read)
}

/// A pipe that programs can also open by name (`/dev/stdout`): the kernel asks then whose it is. Everybody may, since
/// programs change their user (`su`), and only who may look into a process finds its pipes at all.
fn pipe_for(user: &User) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // Both ends are one file. Where this is refused, as outside a sandbox, the descriptors still work.
    let _ = rustix::fs::fchmod(&write, Mode::from_raw_mode(0o666));
    let _ = rustix::fs::fchown(&write, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)));
    Ok((read, write))
}

fn output_pipe(user: &User) -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = pipe_for(user)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

/// Master and slave of a new terminal that `user` owns.
fn open_terminal(pty: Pty, user: &User) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    // For programs that open the terminal by name. Where it is refused, the descriptors still work.
    let _ = rustix::fs::fchown(&slave, Some(Uid::from_raw(user.uid)), None);
    rustix::termios::tcsetwinsize(&master, winsize(pty.size.unwrap_or(DEFAULT_SIZE)))?;
    Ok((master, slave))
}
