//! One sandbox in the server's hands.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sandscope_cgroup::{CgroupSet, DeviceRates};
use sandscope_engine::EngineError;
use sandscope_model::{Cause, Counters, Exit, SandboxId, Values};
use tokio::sync::watch;

use super::baseline::Baseline;
use super::disk;
use super::disk_rates::Pace;
use super::handles::Handles;
use super::oom::OomKills;
use super::record::{self, CONDEMNED_FILE};
use super::step::cgroup_step;

/// A sandbox with living processes, or one that died and has not been killed yet.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: SandboxId,
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: CgroupSet,
    pub(crate) baseline: Baseline,
    /// There while its processes live.
    live: Mutex<Option<Arc<Handles>>>,
    paused: AtomicBool,
    /// Set before anything is ended on request: such an end is announced to nobody.
    killing: AtomicBool,
    /// What it dies of, where the engine itself ends it unasked.
    condemned: OnceLock<Cause>,
    /// Set while it is frozen for a checkpoint.
    capturing: AtomicBool,
    /// Set while it stands still for want of room on the host's disk.
    held: AtomicBool,
    /// Held by whoever lets its processes stand still or go on.
    pub(crate) freezer: Mutex<()>,
    pub(crate) oom: OomKills,
    pub(crate) pace: Pace,
    exit: watch::Sender<Option<Exit>>,
}

impl Sandbox {
    pub(crate) fn new(
        id: SandboxId,
        dir: PathBuf,
        cgroup: CgroupSet,
        baseline: Baseline,
        live: Option<Handles>,
        rates: DeviceRates,
    ) -> Self {
        Self {
            id,
            dir,
            cgroup,
            baseline,
            live: Mutex::new(live.map(Arc::new)),
            paused: AtomicBool::new(false),
            killing: AtomicBool::new(false),
            condemned: OnceLock::new(),
            capturing: AtomicBool::new(false),
            held: AtomicBool::new(false),
            freezer: Mutex::default(),
            oom: OomKills::default(),
            pace: Pace::new(rates),
            exit: watch::Sender::new(None),
        }
    }

    pub(crate) fn live(&self) -> Option<Arc<Handles>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same question without an answer to hold on to: it is asked of every sandbox several times a second.
    fn has_live(&self) -> bool {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.is_paused() && !self.is_being_killed() && self.has_live()
    }

    pub(crate) fn set_capturing(&self, capturing: bool) {
        self.capturing.store(capturing, Ordering::Release);
    }

    /// Whether its processes are to answer now.
    pub(crate) fn is_responsive(&self) -> bool {
        self.is_running() && !self.capturing.load(Ordering::Acquire) && !self.held.load(Ordering::Acquire)
    }

    pub(crate) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    pub(crate) fn begin_kill(&self) {
        self.killing.store(true, Ordering::Release);
    }

    pub(crate) fn is_being_killed(&self) -> bool {
        self.killing.load(Ordering::Acquire)
    }

    /// Its processes are about to be killed for this: the first cause stands. Says whether this is the first.
    pub(crate) fn condemn(&self, cause: Cause) -> bool {
        let is_first = self.condemned.set(cause).is_ok();
        if is_first {
            // For a server that starts before this one has reported the end.
            let written =
                File::open(&self.dir).and_then(|dir| record::write_in(&dir, CONDEMNED_FILE, &cause, false));
            if let Err(error) = written {
                tracing::warn!(sandbox_id = %self.id, %error, "the cause cannot be written down");
            }
        }
        is_first
    }

    /// What it was ended for by this server or one before.
    pub(crate) fn condemned(&self) -> Option<Cause> {
        let written = || record::read(&self.dir, CONDEMNED_FILE).ok().flatten();
        self.condemned.get().copied().or_else(written)
    }

    /// Its processes have ended like this: its handles are dropped, and waiting callers are answered.
    pub(crate) fn finish(&self, exit: Exit) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.exit.send_replace(Some(exit));
    }

    /// Waits until the first process has ended and that has been recorded; says how.
    pub(crate) async fn ended(&self) -> Option<Exit> {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|exit| exit.clone())
    }

    pub(crate) fn counters(&self) -> Result<Counters, EngineError> {
        let live = self.live().ok_or(EngineError::NotFound)?;
        let readings = self.cgroup.readings().map_err(cgroup_step("read counters"))?;
        let (disk_total_bytes, disk_available_bytes) = disk::space(live.disk.as_fd())
            .map_err(|source| EngineError::Step { step: "read the disk's size", source })?;
        let counters = Counters {
            taken_at_usec: monotonic_usec(),
            cpu_usage_usec: readings.cpu_usage_usec,
            memory_current_bytes: readings.memory_current_bytes,
            memory_reclaimable_bytes: readings.memory_reclaimable_bytes,
            memory_file_bytes: readings.memory_file_bytes,
            n_oom_kills: readings.n_oom_kills,
            n_pids: readings.n_pids,
            disk_total_bytes,
            disk_available_bytes,
            more: Values::NONE,
        };
        // Nobody's reading fails for it: what is inside is then a little older.
        if let Some(Err(error)) = live.view.as_ref().map(|view| view.refresh(&counters)) {
            tracing::debug!(sandbox_id = %self.id, %error, "the files for /proc are not written");
        }
        Ok(counters)
    }
}

fn monotonic_usec() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
}
