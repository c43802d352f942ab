//! Ending sandboxes and removing what is left of them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sandscope_cgroup::{CgroupError, CgroupSet};
use sandscope_model::{Exit, SandboxId};
use tokio::sync::watch;

use super::record::KILL_FILE;
use super::runtime::{Shared, blocking, step};
use super::sandbox::{Sandbox, cgroup_step};
use super::survey::BusyWith;
use super::sys;
use super::warm::GROUP_FILE;
use crate::RuntimeError;

/// How long a killed sandbox may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long what was in control groups may take to be gone. The last process of a sandbox unmounts its file systems,
/// for which the kernel waits for work on every processor: on a crowded machine that takes tens of seconds.
const EMPTY_LIMIT: Duration = Duration::from_secs(60);
/// After how long what is still alive is killed once more.
const KILL_AGAIN: Duration = Duration::from_millis(500);
/// How long its control groups may stay busy.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// Counts removals under way in the background.
#[derive(Debug)]
pub(super) struct Removals {
    under_way: watch::Sender<usize>,
    next: AtomicU64,
}

impl Default for Removals {
    fn default() -> Self {
        Self { under_way: watch::Sender::new(0), next: AtomicU64::new(0) }
    }
}

impl Removals {
    pub(super) fn begin(&self) -> UnderWay {
        self.under_way.send_modify(|n| *n += 1);
        UnderWay(self.under_way.clone())
    }

    /// Waits until none is under way.
    pub(super) async fn drain(&self) {
        let mut under_way = self.under_way.subscribe();
        let _sender_is_here = under_way.wait_for(|n| *n == 0).await;
    }
}

pub(super) struct UnderWay(watch::Sender<usize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n = n.saturating_sub(1));
    }
}

impl Shared {
    pub(super) async fn kill(self: &Arc<Self>, id: &SandboxId) -> Result<Option<Exit>, RuntimeError> {
        let Some(sandbox) = self.sandbox(id) else {
            // Its directory may have been removed underneath, with everything that leads to it but its name.
            if !self.busy.has(id) {
                self.remove_remains(id).await;
            }
            return Ok(None);
        };
        sandbox.begin_kill();
        let killed = Arc::clone(&sandbox);
        blocking("kill the sandbox", move || {
            // Tells the shim that nobody needs its record to last.
            let _best_effort = File::create_new(killed.dir.join(KILL_FILE));
            if let Some(live) = killed.live() {
                // A checkpoint that was cut short may have left it so; nothing could end on a frozen disk.
                let _not_frozen = sys::thaw_filesystem(std::os::fd::AsFd::as_fd(&live.disk));
            }
            kill_processes(&killed)
        })
        .await?;
        let exit = tokio::time::timeout(KILL_LIMIT, sandbox.ended())
            .await
            .map_err(|_| step("wait for the sandbox's end")(io::ErrorKind::TimedOut.into()))?;
        let busy = self.busy.with(id);
        self.sandboxes().remove(id);
        self.discard(sandbox, busy);
        // Asked for: there is nothing behind it.
        Ok(exit.map(|exit| Exit { cause: None, ..exit }))
    }

    /// Removes a dead sandbox's files and control groups, in the background where that takes long.
    fn discard(self: &Arc<Self>, sandbox: Arc<Sandbox>, busy: BusyWith) {
        let under_way = self.removals.begin();
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            // Dropped in reverse order: whoever waits for this may take the state directory over at once.
            let _until_done = under_way;
            let shared = shared;
            let (group, dir) = (sandbox.cgroup.name().to_owned(), sandbox.dir.clone());
            drop(sandbox);
            shared.remove_both(&group, &dir);
            drop(busy);
        });
    }

    /// Removes whatever there is of a sandbox that is in nobody's hands: half made, or found without a record.
    pub(super) async fn remove_remains(self: &Arc<Self>, id: &SandboxId) {
        let _until_done = self.busy.with(id);
        let dir = self.layout.sandbox_dir(id);
        // One that was made ahead has groups of another name.
        let group = fs::read_to_string(dir.join(GROUP_FILE)).unwrap_or_else(|_| id.to_string());
        self.remove_named(group, dir).await;
    }

    /// The same by the name of its control groups and its directory.
    pub(super) async fn remove_named(self: &Arc<Self>, group: String, dir: PathBuf) {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || shared.remove_both(&group, &dir));
        if let Err(error) = done.await {
            tracing::error!(%error, "removing a sandbox's remains failed");
        }
    }

    /// Removes control groups, and the directory after them: while it is there, a server that is killed in between, or
    /// that cannot remove the groups, leaves a trace by which the rest is found later.
    pub(super) fn remove_both(&self, group: &str, dir: &Path) {
        if !self.remove_groups(group) {
            return;
        }
        self.throw_away(dir);
        // Whoever was still making it when it had no groups yet makes none once the directory is gone.
        self.remove_groups(group);
    }

    /// Whether nothing is left of them.
    fn remove_groups(&self, group: &str) -> bool {
        let removed = self.cgroups.open_set(group).and_then(|set| {
            let Some(set) = set else { return Ok(()) };
            empty(&set)?;
            set.remove(REMOVE_LIMIT)
        });
        if let Err(error) = &removed {
            tracing::warn!(group, %error, "control groups are left behind");
        }
        removed.is_ok()
    }

    /// Moves a directory out of sight at once, then removes it.
    pub(super) fn throw_away(&self, dir: &Path) {
        let number = self.removals.next.fetch_add(1, Ordering::Relaxed);
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let trash = self.layout.trash_dir().join(format!("{name}-{number}"));
        let removed = match fs::rename(dir, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => remove_whole(dir),
            Ok(()) => remove_whole(&trash),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "files of a sandbox are left behind");
        }
    }
}

/// Kills until nothing is left: what a killed server's launcher had under way may join after the first time.
fn empty(set: &CgroupSet) -> Result<(), CgroupError> {
    let deadline = Instant::now() + EMPTY_LIMIT;
    loop {
        set.kill_all()?;
        match set.wait_empty(KILL_AGAIN) {
            Err(_) if Instant::now() < deadline => {}
            outcome => return outcome,
        }
    }
}

/// Kills by control group and by the first process's handle: either reaches everything, and the groups may have been
/// removed underneath.
fn kill_processes(sandbox: &Sandbox) -> Result<(), RuntimeError> {
    let by_group = sandbox.cgroup.kill_all();
    let Some(live) = sandbox.live() else {
        return match by_group {
            Err(error) if !sandbox.cgroup.is_removed() => Err(cgroup_step("kill the sandbox")(error)),
            _ => Ok(()),
        };
    };
    match (rustix::process::pidfd_send_signal(live.pidfd.get_ref(), rustix::process::Signal::KILL), by_group)
    {
        (Ok(()) | Err(rustix::io::Errno::SRCH), _) | (_, Ok(())) => Ok(()),
        (Err(_), Err(error)) => Err(cgroup_step("kill the sandbox")(error)),
    }
}

/// Removes a directory that a shim may still be writing its last words into: once it is gone, nothing new can appear.
pub(super) fn remove_whole(dir: &Path) -> io::Result<()> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(5);
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => return outcome,
        }
    }
}
