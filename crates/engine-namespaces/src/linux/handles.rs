//! Handles of a sandbox's processes, network and disk: they mean the same ones for as long as they are held.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use rustix::process::PidfdFlags;
use sandscope_proc_view::{Size, View};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::protocol::{Made, ProcessName};
use super::traffic::TrafficFiles;
use super::{disk, record, sys};

/// How long a shim may take to record an exit it has seen.
pub(super) const RECORD_LIMIT: Duration = Duration::from_secs(5);

/// Handles that mean this sandbox for as long as they are held, whatever happens to its numbers.
#[derive(Debug)]
pub(crate) struct Handles {
    pub(crate) pidfd: AsyncFd<OwnedFd>,
    pub(crate) shim: AsyncFd<OwnedFd>,
    pub(crate) network: OwnedFd,
    pub(crate) disk: OwnedFd,
    /// Sandboxes made by versions before have none.
    pub(super) view: Option<View>,
    /// The first process's entry in `/proc`.
    pub(crate) proc_dir: OwnedFd,
    pub(crate) loop_device: u32,
    pub(super) traffic: TrafficFiles,
}

impl Handles {
    /// The descriptors in the order in which the launcher sends them.
    pub(crate) fn new(made: &Made, fds: [OwnedFd; 5]) -> io::Result<Self> {
        let [pidfd, shim, network, disk, view] = fds;
        Self::hold(made, [pidfd, shim, network, disk], Some(View::new(view)))
    }

    fn hold(made: &Made, fds: [OwnedFd; 4], view: Option<View>) -> io::Result<Self> {
        let [pidfd, shim, network, disk] = fds;
        let readable = |fd| sys::watch(fd, Interest::READABLE);
        let proc_dir = hold_proc(made.init.pid)?;
        if has_ended(&pidfd) {
            // The number may have passed on before it was held.
            return Err(io::Error::other("its first process ended at once"));
        }
        let (pidfd, shim) = (readable(pidfd)?, readable(shim)?);
        Ok(Self {
            pidfd,
            shim,
            network,
            disk,
            view,
            proc_dir,
            loop_device: made.loop_device,
            traffic: TrafficFiles::default(),
        })
    }

    /// Says inside what the sandbox has.
    pub(super) fn fill_view(&self, size: Size, made: &Made) -> io::Result<()> {
        self.view.as_ref().map_or(Ok(()), |view| view.fill(size, made.init.started, SystemTime::now()))
    }

    /// Whether the first process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        has_ended(self.pidfd.get_ref())
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
        match shown(made.loop_device, image)? {
            Shown::This => {}
            Shown::Nameless => return Ok(Search::WithoutDisk(pidfd)),
            Shown::Another => return Ok(Search::WithAnotherDisk(pidfd)),
        }
        let disk = disk::mount(made.loop_device)?;
        let view = View::of_shim(made.shim.pid);
        match Self::hold(made, [pidfd, shim, network, disk], view) {
            Err(_) if hold(made.init)?.is_none() => {
                let shim = hold(made.shim)?;
                wait_for_record(shim.as_ref());
                Ok(Search::Gone)
            }
            outcome => outcome.map(Box::new).map(Search::Found),
        }
    }
}

/// What a loop device shows, seen from one image: numbers pass on to other sandboxes, and a directory that was copied
/// has images that no device shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// This image, wherever it was moved to.
    This,
    /// A file that has a name elsewhere: somebody else's.
    Another,
    /// A file that was removed, or none.
    Nameless,
}

/// What the loop device shows, held against `image`.
pub(crate) fn shown(loop_device: u32, image: &Path) -> io::Result<Shown> {
    let image = match std::fs::symlink_metadata(image) {
        Ok(image) => Some((image.dev(), image.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match sys::backing_inode(loop_device)? {
        backing if backing.is_some() && backing == image => Ok(Shown::This),
        Some(backing) if lies_elsewhere(loop_device, backing) => Ok(Shown::Another),
        _ => Ok(Shown::Nameless),
    }
}

/// Whether the file behind a loop device has a name in the state directory it was attached from.
fn lies_elsewhere(loop_device: u32, backing: (u64, u64)) -> bool {
    let Some((file, has_name)) = sys::backing_file(loop_device) else { return false };
    let is_backing = |dir: PathBuf| {
        let image = std::fs::symlink_metadata(dir.join(disk::IMAGE_FILE));
        image.is_ok_and(|image| (image.dev(), image.ino()) == backing)
    };
    let is_in = |state: &Path| {
        let dirs = ["sandboxes", "warm"].map(|name| std::fs::read_dir(state.join(name)));
        dirs.into_iter().flatten().flatten().flatten().any(|entry| is_backing(entry.path()))
    };
    has_name || disk::state_of(&file).is_some_and(is_in)
}

/// What became of processes made earlier.
pub(crate) enum Search {
    /// They live.
    Found(Box<Handles>),
    /// They live, but the image their disk shows is gone.
    WithoutDisk(OwnedFd),
    /// They live, and their disk shows an image that lies elsewhere.
    WithAnotherDisk(OwnedFd),
    Gone,
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

/// Holds `/proc/<pid>`: it stays that of the same process.
fn hold_proc(pid: i32) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty())?)
}
