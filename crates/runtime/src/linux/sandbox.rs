//! One sandbox in the server's hands.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::PidfdFlags;
use sandscope_cgroup::{CgroupError, CgroupSet};
use sandscope_model::{Counters, Exit, SandboxId};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::details::{Baseline, hold_proc};
use super::protocol::{Made, ProcessName};
use super::record::{self, EXIT_FILE, ExitRecord};
use super::{disk, sys};
use crate::{ExitNotice, RuntimeError};

/// How long a shim may take to record an exit it has seen.
const RECORD_LIMIT: Duration = Duration::from_secs(5);

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
    exit: watch::Sender<Option<Exit>>,
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

    /// Takes hold of processes made earlier; `None` if they are gone.
    pub(crate) fn find(made: &Made, image: &Path) -> io::Result<Option<Self>> {
        let shim = hold(made.shim)?;
        let (Some(pidfd), Some(shim)) = (hold(made.init)?, &shim) else {
            wait_for_record(shim.as_ref());
            return Ok(None);
        };
        let network = match File::open(format!("/proc/{}/ns/net", made.init.pid)) {
            Ok(network) => network.into(),
            // It is ending, as it does when the server was killed while killing it: a first process has lost its
            // namespaces already while it still waits for its children to be gone.
            Err(_) if ends_within(&pidfd, RECORD_LIMIT) => {
                wait_for_record(Some(shim));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(shim) = hold(made.shim)? else { return Ok(None) };
        if hold(made.init)?.is_none() {
            wait_for_record(Some(&shim));
            return Ok(None);
        }
        let image = std::fs::metadata(image)?;
        let (_device, inode) = sys::backing_inode(made.loop_device)?;
        if std::os::unix::fs::MetadataExt::ino(&image) != inode {
            return Err(io::Error::other("its loop device shows another file"));
        }
        let disk = disk::mount(made.loop_device)?;
        match Self::new(made, [pidfd, shim, network, disk]) {
            Err(_) if hold(made.init)?.is_none() => {
                let shim = hold(made.shim)?;
                wait_for_record(shim.as_ref());
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }
}

impl Live {
    /// Whether the first process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        has_ended(self.pidfd.get_ref())
    }
}

/// A handle of the process of that name, if it still lives.
fn hold(name: ProcessName) -> io::Result<Option<OwnedFd>> {
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
            exit: watch::Sender::new(None),
        }
    }

    pub(crate) fn live(&self) -> Option<std::sync::Arc<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.is_paused() && !self.killing.load(Ordering::Acquire) && self.live().is_some()
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

    /// Follows the sandbox to its end. Returns what to tell, unless the end was asked for.
    pub(crate) async fn watch(&self) -> Option<ExitNotice> {
        if let Some(live) = self.live() {
            let _always_readable = live.pidfd.readable().await;
            // It records the exit and then leaves; one that was killed itself leaves without.
            if tokio::time::timeout(RECORD_LIMIT, live.shim.readable()).await.is_err() {
                tracing::warn!(sandbox_id = %self.id, "the exit has not been recorded in time");
            }
        }
        let exit = self.recorded_exit();
        self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        let asked_for = self.killing.load(Ordering::Acquire);
        self.exit.send_replace(Some(exit.clone()));
        (!asked_for).then(|| ExitNotice { id: self.id.clone(), exit })
    }

    /// What is known about the end.
    pub(crate) fn recorded_exit(&self) -> Exit {
        let n_oom_kills = self.cgroup.n_oom_kills().unwrap_or_else(|error| {
            tracing::warn!(sandbox_id = %self.id, %error, "out-of-memory kills cannot be read");
            0
        });
        match record::read::<ExitRecord>(&self.dir, EXIT_FILE) {
            Ok(Some(record)) => record.exit(n_oom_kills),
            Ok(None) => Exit { status: None, n_oom_kills },
            Err(error) => {
                tracing::warn!(sandbox_id = %self.id, %error, "the exit record cannot be read");
                Exit { status: None, n_oom_kills }
            }
        }
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
