//! What is written about a sandbox, for those who come later.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use sandscope_model::{ExitStatus, Secret};
use sandscope_proc_view::Size;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::protocol::{Made, ProcessName};

/// Written by the server before it calls a sandbox made.
pub(crate) const SANDBOX_FILE: &str = "sandbox.json";
/// Written by the shim when the first process has ended.
pub(crate) const EXIT_FILE: &str = "exit.json";
/// Keeps the name of a sandbox's control groups where it is not the sandbox's id.
pub(crate) const GROUP_FILE: &str = "cgroup";
/// There while the server is ending the sandbox.
pub(crate) const KILL_FILE: &str = "killing";
/// What it dies of, written before the engine itself ends it unasked.
pub(crate) const CONDEMNED_FILE: &str = "condemned.json";
/// There while a running sandbox is frozen for a checkpoint only.
pub(crate) const CHECKPOINT_FILE: &str = "checkpointing";
/// There while a running sandbox stands still for want of room on the host's disk.
pub(crate) const HELD_FILE: &str = "held";

/// What it takes to find a sandbox again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    /// The host's boot it was made in.
    pub(crate) boot_id: String,
    pub(crate) made: Made,
    pub(crate) cgroup_name: String,
    pub(crate) cgroup_dirs: Vec<PathBuf>,
    /// What had been counted before it was created. Records made by versions before have none.
    #[serde(default)]
    pub(crate) baseline: Baseline,
    /// What it may use, for its `/proc`. Records made by versions before have none.
    #[serde(default)]
    pub(crate) size: Option<Size>,
    /// What its agent requires to initialise it again.
    pub(crate) boot_token: Secret,
}

/// How the first process ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) at_unix_ms: i64,
}

impl ExitRecord {
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.code.map(ExitStatus::Code).or(self.signal.map(ExitStatus::Signal))
    }
}

/// Writes a document under another name, makes it durable if asked to, and puts it in place.
pub(crate) fn write_in<T: Serialize>(dir: &File, name: &str, value: &T, durable: bool) -> io::Result<()> {
    let unfinished = format!("{name}.new");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file: File = rustix::fs::openat(dir, &unfinished, flags, Mode::RUSR | Mode::WUSR)?.into();
    file.write_all(&serde_json::to_vec(value)?)?;
    if durable {
        file.sync_all()?;
    }
    rustix::fs::renameat(dir, &unfinished, dir, name)?;
    if durable {
        dir.sync_all()?;
    }
    Ok(())
}

/// Reads a document; `None` if there is none.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    match std::fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The process of that number, named so that a later one is not taken for it.
pub(crate) fn name_process(pid: i32) -> io::Result<ProcessName> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let started = parse_start(&stat).ok_or_else(|| io::Error::other("unreadable process state"))?;
    Ok(ProcessName { pid, started })
}

/// Field 22; the command's name before it may contain anything.
fn parse_start(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Identifies the host's current boot.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Milliseconds since 1970, UTC.
pub(crate) fn unix_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_whatever_its_command_is_called() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_start(stat), Some(4242));
        assert_eq!(parse_start("7 sh S 1"), None);
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(name_process(own).unwrap().pid, own);
    }

    #[test]
    fn documents_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let opened = File::open(dir.path()).unwrap();
        assert!(read::<ExitRecord>(dir.path(), EXIT_FILE).unwrap().is_none());
        for code in [1, 2] {
            let exit = ExitRecord { code: Some(code), signal: None, at_unix_ms: 0 };
            write_in(&opened, EXIT_FILE, &exit, true).unwrap();
            let found: ExitRecord = read(dir.path(), EXIT_FILE).unwrap().unwrap();
            assert_eq!(found.status(), Some(ExitStatus::Code(code)));
        }
    }
}
