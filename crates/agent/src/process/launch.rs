#![expect(unsafe_code, reason = "becoming another user happens between fork and exec")]

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::rc::Rc;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use sandscope_agent_protocol::process::{Pty, PtySize, StartRequest};
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use super::input::{Terminal, winsize};
use crate::connect::invalid;
use crate::paths;
use crate::settings::Settings;
use crate::user::User;

/// Where programs are looked up unless the environment says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A terminal's size where the caller names none.
const DEFAULT_SIZE: PtySize = PtySize { cols: 80, rows: 24 };

/// Added to what the kernel thinks of a process when memory runs out, out of 1000.
const OOM_SCORE: &str = "500";

/// What connects us to a process just started.
pub(crate) struct Launched {
    pub(crate) pid: Pid,
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) outputs: Outputs,
}

pub(crate) enum Outputs {
    Pipes { stdout: pipe::Receiver, stderr: pipe::Receiver },
    Terminal(Terminal),
}

/// Starts what `request` says, as `user`, in a session and process group of its own.
pub(crate) fn launch(
    settings: &Settings,
    user: &User,
    request: &StartRequest,
) -> Result<Launched, ConnectError> {
    let config = request.process.as_ref().ok_or_else(|| invalid("the request has no process"))?;
    if config.cmd.is_empty() {
        return Err(invalid("the request has no command"));
    }
    let cwd = directory(settings, user, config.cwd.as_deref().unwrap_or_default())?;
    let mut command = Command::new(&config.cmd);
    command
        .args(&config.args)
        .env_clear()
        .env("PATH", DEFAULT_PATH)
        .env("HOME", &user.home)
        .env("USER", &user.name)
        .env("LOGNAME", &user.name)
        .envs(&settings.env)
        .envs(&config.envs);
    let terminal = match request.pty {
        Some(pty) => Some(open_terminal(pty, user).map_err(|error| failed(&config.cmd, &error))?),
        None => None,
    };
    become_user(&mut command, user, &cwd, terminal.is_some())?;
    start(&mut command, user, terminal, request.stdin.unwrap_or(true))
        .map_err(|error| failed(&config.cmd, &error))
}

/// Where the process starts. A directory that was asked for must be there; a home that is missing is no reason
/// to refuse.
fn directory(settings: &Settings, user: &User, asked: &str) -> Result<String, ConnectError> {
    let cwd = paths::resolve(asked, user, settings.workdir(user))?;
    if std::fs::metadata(&cwd).is_ok_and(|found| found.is_dir()) {
        return Ok(cwd);
    }
    if asked.is_empty() { Ok("/".to_owned()) } else { Err(invalid(format!("cwd '{cwd}' does not exist"))) }
}

fn start(
    command: &mut Command,
    user: &User,
    terminal: Option<(OwnedFd, OwnedFd)>,
    stdin: bool,
) -> io::Result<Launched> {
    if let Some((master, slave)) = terminal {
        rustix::io::ioctl_fionbio(&master, true)?;
        // SAFETY: an `OwnedFd` names one open descriptor for as long as it lives, and nobody takes it out of the
        // `AsyncFd` again.
        let master: Terminal = Rc::new(unsafe { AsyncFd::register(master) }?);
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        return Ok(Launched { pid: spawn(command)?, stdin: None, outputs: Outputs::Terminal(master) });
    }
    // Every descriptor is made ready before the start: after it, nothing can fail and leave a process behind.
    let (stdout, stdout_end) = output_pipe(user)?;
    let (stderr, stderr_end) = output_pipe(user)?;
    command.stdout(stdout_end).stderr(stderr_end);
    let stdin = if stdin {
        let (read, write) = pipe_for(user)?;
        command.stdin(read);
        Some(pipe::Sender::from_owned_fd(write)?)
    } else {
        command.stdin(nothing_to_read()?);
        None
    };
    Ok(Launched { pid: spawn(command)?, stdin, outputs: Outputs::Pipes { stdout, stderr } })
}

/// `/dev/null`; or, where a root file system has no such thing, a pipe whose other end is closed.
fn nothing_to_read() -> io::Result<Stdio> {
    // Whatever the sandbox has put there is not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty())
        && FileType::from_raw_mode(rustix::fs::fstat(&null)?.st_mode) == FileType::CharacterDevice
    {
        return Ok(null.into());
    }
    let (read, _write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok(read.into())
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

fn spawn(command: &mut Command) -> io::Result<Pid> {
    let child = command.spawn()?;
    let raw = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| io::Error::other("the kernel gave an impossible process id"))?;
    // When memory runs out the kernel shall end this process and not the agent, whose end is the sandbox's. Set from
    // here: the child cannot open its own file before it has become another program. One that has ended already needs
    // no mark.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), OOM_SCORE);
    Ok(pid)
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

/// What the child does between fork and exec.
fn become_user(command: &mut Command, user: &User, cwd: &str, terminal: bool) -> Result<(), ConnectError> {
    let cwd = CString::new(cwd).map_err(|_| invalid("a path cannot contain a zero byte"))?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    // Outside a sandbox the agent may run as the very user it starts processes for, without the power to change.
    let change = rustix::process::geteuid() != uid || uid.is_root();
    let prepare = move || -> io::Result<()> {
        rustix::process::setsid()?;
        if terminal {
            // SAFETY: the child has its terminal as standard input by now, and keeps it.
            rustix::process::ioctl_tiocsctty(unsafe { BorrowedFd::borrow_raw(0) })?;
        }
        if change {
            rustix::thread::set_thread_groups(&groups)?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        // After the change of user: a directory the user may not enter must not be entered with our rights.
        rustix::process::chdir(cwd.as_c_str())?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(())
    };
    // SAFETY: runs in the forked child, whose only thread this is; it makes system calls on values prepared
    // before the fork and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}

fn failed(cmd: &str, error: &io::Error) -> ConnectError {
    let code = match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOSPC) => {
            Code::ResourceExhausted
        }
        _ => Code::InvalidArgument,
    };
    ConnectError::new(code, format!("error starting process '{cmd}': {error}"))
}
