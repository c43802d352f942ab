//! One sandbox in the server's hands.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::PidfdFlags;
use sandscope_cgroup::{CgroupError, CgroupSet};
use sandscope_model::{Cause, Counters, Exit, ExitStatus, SandboxId};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use super::details::{Baseline, hold_proc};
use super::protocol::{Made, ProcessName};
use super::record::{self, EXIT_FILE, ExitRecord};
use super::{disk, sys};
use crate::{Notice, RuntimeError};

/// How long a shim may take to record an exit it has seen.
const RECORD_LIMIT: Duration = Duration::from_secs(5);
/// How long before its end an out-of-memory kill may have been counted to be what ended the sandbox.
const OOM_WINDOW: Duration = Duration::from_secs(1);
/// How long the first process, if it was the victim, may take to end after its kill was counted.
const VICTIM_LIMIT: Duration = Duration::from_millis(100);
/// Looks at the count after word of a lack of memory came: the kill follows a moment later.
const OOM_LOOKS_MS: [u64; 9] = [0, 2, 5, 10, 20, 40, 80, 160, 320];
/// How often the count is looked at where the kernel sends no word.
const OOM_POLL: Duration = Duration::from_millis(500);
/// How often, and with what pause, control groups are looked for after their processes were killed: they can only be
/// removed once those are gone.
const REMOVAL_LOOKS: u32 = 4;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);
const SIGKILL: i32 = 9;

/// A sandbox with living processes, or one that died and has not been killed yet.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: SandboxId,
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: CgroupSet,
    pub(crate) baseline: Baseline,
    /// There while its processes live.
    live: Mutex<Option<std::sync::Arc<Live>>>,
    paused: AtomicBool,
    /// Set before anything is ended on request: such an end is announced to nobody.
    killing: AtomicBool,
    /// Set while it stands still for a checkpoint.
    capturing: AtomicBool,
    oom: Mutex<OomSeen>,
    exit: watch::Sender<Option<Exit>>,
}

/// Out-of-memory kills counted so far.
#[derive(Debug, Default)]
struct OomSeen {
    n_kills: u64,
    /// When the count was last seen to rise.
    risen_at: Option<Instant>,
}

/// Handles that mean this sandbox for as long as they are held, whatever happens to its numbers.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) pidfd: AsyncFd<OwnedFd>,
    pub(crate) shim: AsyncFd<OwnedFd>,
    pub(crate) network: OwnedFd,
    pub(crate) disk: OwnedFd,
    /// The first process's entry in `/proc`.
    pub(crate) proc_dir: OwnedFd,
    pub(crate) loop_device: u32,
}

impl Live {
    /// The descriptors in the order in which the launcher sends them.
    pub(crate) fn new(made: &Made, fds: [OwnedFd; 4]) -> io::Result<Self> {
        let [pidfd, shim, network, disk] = fds;
        let readable = |fd| sys::watch(fd, Interest::READABLE);
        let proc_dir = hold_proc(made.init.pid)?;
        if has_ended(&pidfd) {
            // The number may have passed on before it was held.
            return Err(io::Error::other("its first process ended at once"));
        }
        let (pidfd, shim) = (readable(pidfd)?, readable(shim)?);
        Ok(Self { pidfd, shim, network, disk, proc_dir, loop_device: made.loop_device })
    }

    /// Takes hold of processes made earlier.
    pub(crate) fn find(made: &Made, image: &Path) -> io::Result<Search> {
        let shim = hold(made.shim)?;
        let (Some(pidfd), Some(shim)) = (hold(made.init)?, &shim) else {
            wait_for_record(shim.as_ref());
            return Ok(Search::Gone);
        };
        let network = match File::open(format!("/proc/{}/ns/net", made.init.pid)) {
            Ok(network) => network.into(),
            // It is ending, as it does when the server was killed while killing it: a first process has lost its
            // namespaces already while it still waits for its children to be gone.
            Err(_) if ends_within(&pidfd, RECORD_LIMIT) => {
                wait_for_record(Some(shim));
                return Ok(Search::Gone);
            }
            Err(error) => return Err(error),
        };
        let Some(shim) = hold(made.shim)? else { return Ok(Search::Gone) };
        if hold(made.init)?.is_none() {
            wait_for_record(Some(&shim));
            return Ok(Search::Gone);
        }
        if !shows_image(made.loop_device, image)? {
            return Ok(Search::WithoutDisk(pidfd));
        }
        let disk = disk::mount(made.loop_device)?;
        match Self::new(made, [pidfd, shim, network, disk]) {
            Err(_) if hold(made.init)?.is_none() => {
                let shim = hold(made.shim)?;
                wait_for_record(shim.as_ref());
                Ok(Search::Gone)
            }
            outcome => outcome.map(Search::Found),
        }
    }
}

/// Whether a loop device shows this file; numbers pass on to other sandboxes.
pub(crate) fn shows_image(loop_device: u32, image: &Path) -> io::Result<bool> {
    match std::fs::metadata(image) {
        Ok(image) => {
            let (_device, inode) = sys::backing_inode(loop_device)?;
            Ok(std::os::unix::fs::MetadataExt::ino(&image) == inode)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What became of processes made earlier.
pub(crate) enum Search {
    /// They live.
    Found(Live),
    /// They live, but the image their disk shows is gone or another.
    WithoutDisk(OwnedFd),
    Gone,
}

impl Live {
    /// Whether the first process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        has_ended(self.pidfd.get_ref())
    }
}

/// A handle of the process of that name, if it still lives.
pub(crate) fn hold(name: ProcessName) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = rustix::process::Pid::from_raw(name.pid) else { return Ok(None) };
    let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Asked after the handle was taken: a number that passed on to another process shows here.
    let is_same = record::name_process(name.pid).is_ok_and(|found| found == name);
    Ok((is_same && !has_ended(&handle)).then_some(handle))
}

/// Whether the process has ended; its entry may still be there.
fn has_ended(pidfd: &OwnedFd) -> bool {
    ends_within(pidfd, Duration::ZERO)
}

/// The same, waiting for it. Blocks.
fn ends_within(pidfd: &OwnedFd, limit: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let limit = Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let ended = rustix::io::retry_on_intr(|| {
        rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit))
    });
    !matches!(ended, Ok(0))
}

/// A shim whose sandbox has ended writes down how, and leaves: before that, nobody can say.
fn wait_for_record(shim: Option<&OwnedFd>) {
    if shim.is_some_and(|shim| !ends_within(shim, RECORD_LIMIT)) {
        tracing::warn!("a sandbox's end has not been recorded in time");
    }
}

impl Sandbox {
    pub(crate) fn new(
        id: SandboxId,
        dir: PathBuf,
        cgroup: CgroupSet,
        baseline: Baseline,
        live: Option<Live>,
    ) -> Self {
        Self {
            id,
            dir,
            cgroup,
            baseline,
            live: Mutex::new(live.map(std::sync::Arc::new)),
            paused: AtomicBool::new(false),
            killing: AtomicBool::new(false),
            capturing: AtomicBool::new(false),
            oom: Mutex::default(),
            exit: watch::Sender::new(None),
        }
    }

    pub(crate) fn live(&self) -> Option<std::sync::Arc<Live>> {
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
        !self.is_paused() && !self.killing.load(Ordering::Acquire) && self.has_live()
    }

    pub(crate) fn set_capturing(&self, capturing: bool) {
        self.capturing.store(capturing, Ordering::Release);
    }

    /// Whether its processes are to answer now.
    pub(crate) fn is_responsive(&self) -> bool {
        self.is_running() && !self.capturing.load(Ordering::Acquire)
    }

    pub(crate) fn begin_kill(&self) {
        self.killing.store(true, Ordering::Release);
    }

    /// Waits until the first process has ended and that has been recorded; says how.
    pub(crate) async fn ended(&self) -> Option<Exit> {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|exit| exit.clone())
    }

    /// Follows the sandbox to its end and tells what nobody asked for.
    pub(crate) async fn watch(&self, notices: &mpsc::Sender<Notice>) {
        if let Some(live) = self.live() {
            self.follow(&live, notices).await;
            // It records the exit and then leaves; one that was killed itself leaves without.
            if tokio::time::timeout(RECORD_LIMIT, live.shim.readable()).await.is_err() {
                tracing::warn!(sandbox_id = %self.id, "the exit has not been recorded in time");
            }
        }
        let mut exit = self.last_words();
        let asked_for = self.killing.load(Ordering::Acquire);
        if !asked_for {
            exit.cause = Some(self.cause_of(&exit).await);
        }
        self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.exit.send_replace(Some(exit.clone()));
        if !asked_for {
            let _nobody_listens = notices.send(Notice::Ended { id: self.id.clone(), exit }).await;
        }
    }

    /// Waits for the first process's end, telling of processes killed for lack of memory until then.
    async fn follow(&self, live: &Live, notices: &mpsc::Sender<Notice>) {
        let word = self.cgroup.watch_oom().map_err(io::Error::other).and_then(sys::watch_oom);
        let word = word
            .inspect_err(|error| {
                tracing::warn!(sandbox_id = %self.id, %error, "no word when memory runs out; looking now and then");
            })
            .ok();
        // It may have happened before anybody watched.
        self.tell_oom_kills(live, notices, &[0]).await;
        loop {
            let out_of_memory = async {
                match &word {
                    Some(word) => sys::next_oom(word).await,
                    None => tokio::time::sleep(OOM_POLL).await,
                }
            };
            tokio::select! {
                biased;
                () = out_of_memory => self.tell_oom_kills(live, notices, &OOM_LOOKS_MS).await,
                _always_readable = live.pidfd.readable() => return,
            }
        }
    }

    /// Looks at the count, after each of the pauses, until it has risen or everything ended.
    async fn tell_oom_kills(&self, live: &Live, notices: &mpsc::Sender<Notice>, pauses_ms: &[u64]) {
        for pause_ms in pauses_ms {
            tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
            if let Some(n_oom_kills) = self.count_oom_kills() {
                // Of the first process's own the end tells.
                let ended = tokio::time::timeout(VICTIM_LIMIT, live.pidfd.readable()).await.is_ok();
                if !ended && !self.killing.load(Ordering::Acquire) {
                    let notice = Notice::OutOfMemory { id: self.id.clone(), n_oom_kills };
                    let _nobody_listens = notices.send(notice).await;
                }
                return;
            }
            if live.has_ended() {
                return;
            }
        }
    }

    /// The number of out-of-memory kills, if it has risen.
    fn count_oom_kills(&self) -> Option<u64> {
        let n_kills = self.cgroup.n_oom_kills().ok()?;
        let mut seen = self.oom.lock().unwrap_or_else(PoisonError::into_inner);
        if n_kills <= seen.n_kills {
            return None;
        }
        *seen = OomSeen { n_kills, risen_at: Some(Instant::now()) };
        Some(n_kills)
    }

    /// What is known about the end, but for the cause. To be asked before the control groups go.
    fn last_words(&self) -> Exit {
        let status = match record::read::<ExitRecord>(&self.dir, EXIT_FILE) {
            Ok(record) => record.and_then(|record| record.status()),
            Err(error) => {
                tracing::warn!(sandbox_id = %self.id, %error, "the exit record cannot be read");
                None
            }
        };
        let totals = self.cgroup.totals();
        Exit {
            status,
            cause: None,
            n_oom_kills: totals.n_oom_kills,
            peak_memory_bytes: totals.peak_memory_bytes,
            cpu_time_usec: totals.cpu_usage_usec,
        }
    }

    /// What ended it, though nobody asked.
    async fn cause_of(&self, exit: &Exit) -> Cause {
        self.count_oom_kills();
        let was_killed = exit.status == Some(ExitStatus::Signal(SIGKILL));
        if was_killed && self.just_ran_out_of_memory() {
            return Cause::OutOfMemory;
        }
        for look in 0..if was_killed { REMOVAL_LOOKS } else { 1 } {
            if look > 0 {
                tokio::time::sleep(REMOVAL_PAUSE).await;
            }
            if self.cgroup.is_removed() {
                return Cause::ControlGroupsRemoved;
            }
        }
        exit.plain_cause().unwrap_or(Cause::SupervisorKilled)
    }

    fn just_ran_out_of_memory(&self) -> bool {
        let risen_at = self.oom.lock().unwrap_or_else(PoisonError::into_inner).risen_at;
        risen_at.is_some_and(|at| at.elapsed() <= OOM_WINDOW)
    }

    /// What is known about the end of one that was found dead. `has_groups`: its control groups are still its own;
    /// others would say that it used nothing.
    pub(crate) fn found_dead(&self, same_boot: bool, has_groups: bool) -> Exit {
        let told = self.last_words();
        let exit = if has_groups { told } else { Exit { status: told.status, ..Exit::default() } };
        let was_killed = exit.status == Some(ExitStatus::Signal(SIGKILL));
        let cause = match exit.plain_cause() {
            None if !same_boot => Cause::HostRestarted,
            // Nobody looked: a kill for lack of memory that nobody was told of is taken for the end's.
            Some(_) if was_killed && exit.n_oom_kills.is_some_and(|n| n > 0) => Cause::OutOfMemory,
            Some(Cause::AgentExited) => Cause::AgentExited,
            _ if same_boot && !has_groups => Cause::ControlGroupsRemoved,
            plain => plain.unwrap_or(Cause::SupervisorKilled),
        };
        Exit { cause: Some(cause), ..exit }
    }

    pub(crate) fn counters(&self) -> Result<Counters, RuntimeError> {
        let live = self.live().ok_or(RuntimeError::NotFound)?;
        let readings = self.cgroup.readings().map_err(cgroup_step("read counters"))?;
        let (disk_total_bytes, disk_available_bytes) = disk::space(live.disk.as_fd())
            .map_err(|source| RuntimeError::Step { step: "read the disk's size", source })?;
        Ok(Counters {
            taken_at_usec: monotonic_usec(),
            cpu_usage_usec: readings.cpu_usage_usec,
            memory_current_bytes: readings.memory_current_bytes,
            memory_inactive_file_bytes: readings.memory_inactive_file_bytes,
            memory_file_bytes: readings.memory_file_bytes,
            n_oom_kills: readings.n_oom_kills,
            n_pids: readings.n_pids,
            disk_total_bytes,
            disk_available_bytes,
        })
    }
}

fn monotonic_usec() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
}

/// Says which step a control group failed in.
pub(crate) fn cgroup_step(step: &'static str) -> impl Fn(CgroupError) -> RuntimeError {
    move |error| {
        let kind = error.io_kind().unwrap_or(io::ErrorKind::Other);
        RuntimeError::Step { step, source: io::Error::new(kind, error) }
    }
}
