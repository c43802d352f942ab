use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::time::Duration;

use rustix::fs::{Gid, Uid};
use rustix::process::{Pid, Signal, kill_process};
use sandscope_agent_protocol::process::{ProcessConfig, StartRequest};
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::program::{Identity, Program, Started, places};
use super::stdio::{Outputs, Stdio, connections};
use crate::connect::invalid;
use crate::paths;
use crate::reaper::Exits;
use crate::settings::Settings;
use crate::user::User;

/// Where programs are looked up unless the environment says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Added to what the kernel thinks of a process when memory runs out, out of 1000.
const OOM_SCORE: &str = "500";

/// How long a process may take to become a program, in steps of a second that the sandbox was running: its file may lie on
/// a slow disk.
const START_LIMIT_S: u32 = 30;
/// And how long one that somebody has stopped.
const STOPPED_LIMIT_S: u32 = 10;

/// What connects us to a process just started.
pub(crate) struct Launched {
    pub(crate) pid: Pid,
    pub(crate) start: Start,
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) outputs: Outputs,
}

/// A process that is not yet known to have become a program.
pub(crate) struct Start {
    cmd: String,
    started: Started,
}

/// Starts what `request` says, as `user`, in a session and process group of its own. The process is to be expected at
/// once, and then waited for ([`Start::done`]).
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
    let failed = |error: io::Error| failed(&config.cmd, &error);
    let environment = environment(settings, user, config);
    let path = environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let texts = |texts: Vec<String>| -> io::Result<Vec<CString>> {
        texts.into_iter().map(|text| CString::new(text).map_err(io::Error::from)).collect()
    };
    let places = texts(places(&config.cmd, path)).map_err(failed)?;
    let arguments =
        texts([&config.cmd].into_iter().chain(&config.args).cloned().collect()).map_err(failed)?;
    let variables = environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let environment = texts(variables).map_err(failed)?;
    // Every descriptor is made ready before the start: after it, nothing can fail and leave a process behind.
    let Stdio { ends, stdin, outputs } =
        connections(user, request.pty, request.stdin.unwrap_or(true)).map_err(failed)?;
    let terminal = matches!(outputs, Outputs::Terminal(_));
    let cwd = CString::new(cwd).map_err(|_| invalid("a path cannot contain a zero byte"))?;
    let program =
        Program { places, arguments, environment, cwd, identity: identity(user), stdio: ends, terminal };
    let started = program.start().map_err(failed)?;
    Ok(Launched { pid: started.pid, start: Start { cmd: config.cmd.clone(), started }, stdin, outputs })
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

/// What a program finds in its environment.
fn environment(settings: &Settings, user: &User, config: &ProcessConfig) -> BTreeMap<String, String> {
    let own = [("PATH", DEFAULT_PATH), ("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)];
    let mut environment: BTreeMap<_, _> =
        own.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    for more in [&settings.env, &config.envs] {
        environment.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    environment
}

/// Outside a sandbox the agent may run as the very user it starts processes for, without the power to change.
fn identity(user: &User) -> Option<Identity> {
    let uid = Uid::from_raw(user.uid);
    (rustix::process::geteuid() != uid || uid.is_root()).then(|| Identity {
        uid,
        gid: Gid::from_raw(user.gid),
        groups: user.groups.iter().copied().map(Gid::from_raw).collect(),
    })
}

impl Start {
    /// Waits until the process has become a program.
    ///
    /// # Errors
    ///
    /// It could not, or not in time.
    pub(crate) async fn done(self, exits: &Exits) -> Result<(), ConnectError> {
        let guard = KillOnDrop { pid: Some(self.started.pid), exits };
        let outcome = outcome(&self.started).await.map_err(|error| failed(&self.cmd, &error))?;
        outcome.map_or(Ok(()), |error| Err(failed(&self.cmd, &error)))?;
        guard.disarm();
        Ok(())
    }
}

/// Why the process became no program; `None` where it did.
async fn outcome(started: &Started) -> io::Result<Option<io::Error>> {
    let report = &started.outcome;
    // Counted in steps: a sandbox may be paused for as long as it likes.
    for second in 1..=START_LIMIT_S {
        let Ok(readable) = timeout(Duration::from_secs(1), report.readable()).await else {
            if second >= STOPPED_LIMIT_S && is_stopped(started.pid) {
                return Err(late("somebody stopped it before it had begun"));
            }
            continue;
        };
        readable?;
        let mut errno = [0; size_of::<i32>()];
        match report.try_read(&mut errno) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(late("it had not begun after 30 seconds: its file, or what that lies on, does not answer"))
}

fn late(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

/// Whether a signal, or somebody who traces it, keeps the process from going on.
fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| says_stopped(&stat))
}

/// The state follows the name, which may contain anything.
fn says_stopped(stat: &str) -> bool {
    stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with(['T', 't']))
}

/// Ends a process that nobody will wait for as a program.
struct KillOnDrop<'a> {
    pid: Option<Pid>,
    exits: &'a Exits,
}

impl KillOnDrop<'_> {
    fn disarm(mut self) {
        let Some(pid) = self.pid.take() else { return };
        // When memory runs out the kernel shall end this process and not the agent, whose end is the sandbox's. Set from
        // here: the process cannot open its own file before it has become a program. One that has ended already needs no
        // mark.
        if self.exits.expects(pid) {
            let _ = std::fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), OOM_SCORE);
        }
    }
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        // Once it has been waited for, its id may be another's.
        if let Some(pid) = self.pid.filter(|pid| self.exits.expects(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn failed(cmd: &str, error: &io::Error) -> ConnectError {
    let code = match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOSPC) => {
            Code::ResourceExhausted
        }
        _ if error.kind() == io::ErrorKind::TimedOut => Code::FailedPrecondition,
        _ => Code::InvalidArgument,
    };
    ConnectError::new(code, format!("error starting process '{cmd}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_disk_is_not_stopped() {
        assert!(says_stopped("7 (a) T) T 1 7 7 0"));
        assert!(says_stopped("7 (a) t 1 7 7 0"));
        assert!(!says_stopped("7 (a) T) D 1 7 7 0"));
        assert!(!says_stopped("7 (T) S 1 7 7 0"));
        assert!(!says_stopped(""));
    }
}
