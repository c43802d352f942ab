//! Removing what is left of sandboxes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sandscope_cgroup::{CgroupError, CgroupSet, Cgroups};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::busy::BusyWith;
use super::layout::Layout;
use super::record::GROUP_FILE;
use super::step::spawn_blocking;
use super::strays::is_shown_from;
use super::turns::Turns;

/// How long what was in control groups may take to be gone. The last process of a sandbox unmounts its file systems,
/// for which the kernel waits for work on every processor: on a crowded machine that takes tens of seconds.
const EMPTY_LIMIT: Duration = Duration::from_secs(60);
/// After how long what is still alive is killed once more.
const KILL_AGAIN: Duration = Duration::from_millis(500);
/// Between two attempts to get a thread for what waits for one, and how many of them fail before that is given up.
const ASK_AGAIN: Duration = Duration::from_millis(200);
const MAX_REFUSED: u32 = 15;
/// How long its control groups may stay busy.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// Removes control groups and directories, and counts what is under way in the background.
#[derive(Debug, Clone)]
pub(super) struct Remover(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    layout: Arc<Layout>,
    cgroups: Arc<Cgroups>,
    under_way: watch::Sender<usize>,
    /// Whose control groups are being removed. Opening a set that is half removed makes the rest of it anew.
    turns: Turns,
    next: AtomicU64,
}

/// Counts as under way until dropped.
pub(super) struct UnderWay(watch::Sender<usize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n = n.saturating_sub(1));
    }
}

impl Remover {
    pub(super) fn new(layout: Arc<Layout>, cgroups: Arc<Cgroups>) -> Self {
        let under_way = watch::Sender::new(0);
        Self(Arc::new(Inside {
            layout,
            cgroups,
            under_way,
            turns: Turns::default(),
            next: AtomicU64::new(0),
        }))
    }

    pub(super) fn begin(&self) -> UnderWay {
        self.0.under_way.send_modify(|n| *n += 1);
        UnderWay(self.0.under_way.clone())
    }

    /// Waits until none is under way, or waits for a thread in vain. What is left then is removed at the next start.
    pub(super) async fn drain(&self) {
        let mut under_way = self.0.under_way.subscribe();
        let mut n_refused = 0;
        while tokio::time::timeout(ASK_AGAIN, under_way.wait_for(|n| *n == 0)).await.is_err() {
            // What was refused a thread is done as soon as anybody gets one.
            n_refused = if spawn_blocking(|| ()).is_none() { n_refused + 1 } else { 0 };
            if n_refused == MAX_REFUSED {
                tracing::warn!(
                    "the host has no thread to remove the remains of sandboxes; the next start does"
                );
                return;
            }
        }
    }

    /// [`remove_both`](Self::remove_both) where waiting hurts nobody. Nobody else has the sandbox until
    /// `busy` is dropped.
    pub(super) async fn remove_named(&self, group: String, dir: PathBuf, busy: Option<BusyWith>) {
        let remover = self.clone();
        let remove = move || {
            let _until_done = busy;
            remover.remove_both(&group, &dir);
        };
        removed(self.away(remove)).await;
    }

    /// Removes something where waiting hurts nobody, and counts as under way until then. Where the host refuses a
    /// thread the work waits in the runtime until there is one, and nobody else waits for it.
    pub(super) fn away(&self, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
        let under_way = self.begin();
        let work = move || {
            // Dropped last: whoever waits for this may take the state directory over at once.
            let _until_done = under_way;
            work();
        };
        let started = spawn_blocking(work);
        if started.is_none() {
            tracing::warn!("the remains of a sandbox are removed once the host has a thread again");
        }
        started
    }

    /// Removes control groups, and the directory after them: while it is there, a server that is killed in between, or
    /// that cannot remove the groups, leaves a trace by which the rest is found later.
    pub(super) fn remove_both(&self, group: &str, dir: &Path) {
        // One that was made ahead keeps its groups' name, and may have got its directory only after `group` was chosen.
        let ahead = fs::read_to_string(dir.join(GROUP_FILE)).ok().filter(|ahead| ahead != group);
        let named =
            ahead.into_iter().chain(dir.file_name().and_then(|name| name.to_str()).map(str::to_owned));
        let others: Vec<String> = named.filter(|name| self.is_ours(name, dir)).collect();
        // All of them, whatever becomes of each.
        let n_left = others.iter().filter(|other| !self.remove_groups(other)).count();
        if !self.remove_groups(group) || n_left > 0 {
            return;
        }
        self.throw_away(dir);
        // Whoever was still making it when it had no groups yet makes none once the directory is gone.
        self.remove_groups(group);
    }

    /// Whether control groups that something in `dir` names are ours. Earlier versions named them without an owner, and
    /// what is read here may be a copy: such a name counts only while a loop device shows the disk that is in `dir`.
    fn is_ours(&self, name: &str, dir: &Path) -> bool {
        self.0.cgroups.is_own(name) || is_shown_from(dir)
    }

    /// Whether nothing is left of them.
    fn remove_groups(&self, group: &str) -> bool {
        self.remove_set(group, |cgroups| cgroups.open_set(group))
    }

    /// The same by the directories that a record names.
    pub(super) fn remove_recorded(&self, group: &str, dirs: &[PathBuf]) -> bool {
        self.remove_set(group, |cgroups| cgroups.open_dirs(group, dirs))
    }

    fn remove_set(
        &self,
        group: &str,
        open: impl FnOnce(&Cgroups) -> Result<Option<CgroupSet>, CgroupError>,
    ) -> bool {
        let _alone = self.0.turns.take(group);
        let removed = open(&self.0.cgroups).and_then(|set| {
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
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let trash = self.0.layout.trash_dir().join(format!("{name}-{number}"));
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

/// Waits for what [`Remover::away`] began; `false` if it waits for a thread.
pub(super) async fn removed(begun: Option<JoinHandle<()>>) -> bool {
    let Some(done) = begun else { return false };
    if let Err(error) = done.await {
        tracing::error!(%error, "removing a sandbox's remains failed");
    }
    true
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
