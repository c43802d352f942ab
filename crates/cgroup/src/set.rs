use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::cgroups::Places;
use crate::counters::{CounterFiles, CpuUse, Readings, Totals};
use crate::error::CgroupError;
use crate::group::Group;
use crate::hierarchy::Version;
use crate::limits::Limits;
use crate::oom::OomWatch;
use crate::rates::{self, DeviceRates};
use crate::spare::has_spare_descriptors;
use crate::waits::{WaitFiles, Waits};
use crate::{directories, limits, power};

/// How long processes may take to freeze.
pub const FREEZE_LIMIT: Duration = Duration::from_secs(5);

/// One sandbox's control groups: one directory in each hierarchy that has a part in it.
#[derive(Debug)]
pub struct CgroupSet {
    name: String,
    groups: Vec<Group>,
    counters: CounterFiles,
    /// Opened with their first reading, where they are kept open.
    waits: OnceLock<WaitFiles>,
    places: Arc<Places>,
}

/// A file that moves the thread or process that writes `0` to it into the set, in one hierarchy. Closed on exec.
#[derive(Debug)]
pub struct JoinFile {
    /// Open for writing.
    pub fd: OwnedFd,
    /// Its path, for error messages.
    pub path: PathBuf,
}

impl JoinFile {
    /// Moves the calling thread (version 1) or process (version 2). Only for single-threaded processes: a thread
    /// that moves alone leaves the others behind.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn join(&self) -> Result<(), CgroupError> {
        rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, b"0"))
            .map(drop)
            .map_err(|source| CgroupError::file("join", &self.path, source))
    }
}

impl CgroupSet {
    pub(crate) fn new(name: &str, groups: Vec<Group>, places: &Arc<Places>) -> Result<Self, CgroupError> {
        let counters = CounterFiles::open(&groups)?;
        Ok(Self {
            name: name.to_owned(),
            groups,
            counters,
            waits: OnceLock::new(),
            places: Arc::clone(places),
        })
    }

    /// The files of what is read seldom, if they are kept open.
    fn wait_files(&self) -> Option<&WaitFiles> {
        has_spare_descriptors().then(|| self.waits.get_or_init(|| WaitFiles::open(&self.groups)))
    }

    /// Reads how long processes waited: four reads, on files kept open where descriptors are plenty.
    pub fn waits(&self) -> Waits {
        self.wait_files().map_or_else(|| WaitFiles::open(&self.groups).read(), WaitFiles::read)
    }

    /// The processes in it, by the host's numbers, if they are no more than `most` (a few hundred at most).
    pub fn few_processes(&self, most: usize) -> Option<Vec<i32>> {
        match self.wait_files() {
            Some(files) => files.few_processes(most),
            None => self.processes(most + 1).ok().filter(|pids| pids.len() <= most),
        }
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The last part of its path, the same in every hierarchy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directories, one per hierarchy. Keep them to find the set again with
    /// [`Cgroups::open_dirs`](crate::Cgroups::open_dirs) from a process that lives elsewhere.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.groups.iter().map(|group| group.path.as_path())
    }

    /// Sets all limits, new or changed. A memory limit below what is in use that cannot be reclaimed is refused in
    /// version 1 (`ResourceBusy`) and enforced by the out-of-memory killer in version 2.
    ///
    /// # Errors
    ///
    /// The kernel refuses a limit. Those before it are set.
    pub fn set_limits(&self, limits: &Limits) -> Result<(), CgroupError> {
        limits::apply(&self.groups, limits)
    }

    /// Limits how fast a block device, `major:minor`, that nobody but this set uses may be read and written; or lets it
    /// go as fast as it can.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the set was removed.
    pub fn set_device_rates(&self, device: &str, rates: DeviceRates) -> Result<(), CgroupError> {
        rates::set(&self.groups, &self.places.rates, device, rates)
    }

    /// Opens the files through which a single-threaded process moves itself into the set.
    ///
    /// # Errors
    ///
    /// One of them cannot be opened, as when the set was removed.
    pub fn join_files(&self) -> Result<Vec<JoinFile>, CgroupError> {
        self.join_files_of(|_| true)
    }

    /// The same without version 2, for a child that is cloned straight into [`unified_dir`](Self::unified_dir).
    ///
    /// # Errors
    ///
    /// As of [`join_files`](Self::join_files).
    pub fn v1_join_files(&self) -> Result<Vec<JoinFile>, CgroupError> {
        self.join_files_of(|group| group.version == Version::V1)
    }

    fn join_files_of(&self, wanted: impl Fn(&Group) -> bool) -> Result<Vec<JoinFile>, CgroupError> {
        let open = |group: &Group| {
            let file = group.open_file(group.join_file(), OFlags::WRONLY)?;
            Ok(JoinFile { fd: file.fd, path: file.path })
        };
        self.groups.iter().filter(|group| wanted(group)).map(open).collect()
    }

    /// The set's directory in the version 2 hierarchy, if one is mounted: what `CLONE_INTO_CGROUP` takes.
    pub fn unified_dir(&self) -> Option<BorrowedFd<'_>> {
        self.groups.iter().find(|group| group.version == Version::V2).map(Group::dir)
    }

    /// Stops every process and waits until all are frozen, at most [`FREEZE_LIMIT`]; after that everything runs on
    /// and the answer is [`CgroupError::Timeout`].
    ///
    /// # Errors
    ///
    /// [`CgroupError::Timeout`], or the kernel refuses.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        power::freeze(&self.groups, FREEZE_LIMIT)
    }

    /// Lets every process continue.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or does not do it in time.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        power::thaw(&self.groups)
    }

    /// Whether every process is frozen.
    ///
    /// # Errors
    ///
    /// The state cannot be read, as when the set was removed.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        power::is_frozen(&self.groups)
    }

    /// Sends SIGKILL to every process, frozen ones included. They are gone a moment later: see
    /// [`wait_empty`](Self::wait_empty).
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the set was removed.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        power::kill_all(&self.groups, FREEZE_LIMIT)
    }

    /// Whether nothing runs in it, in any hierarchy.
    ///
    /// # Errors
    ///
    /// The processes cannot be listed.
    pub fn is_empty(&self) -> Result<bool, CgroupError> {
        for group in &self.groups {
            if !group.is_empty()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until nothing runs in it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Timeout`] after `limit`, or the processes cannot be listed.
    pub fn wait_empty(&self, limit: Duration) -> Result<(), CgroupError> {
        let path = self.groups.first().map(|group| group.path.clone()).unwrap_or_default();
        power::wait_until(&path, "empty", limit, || self.is_empty())
    }

    /// Reads the counters: five reads on files kept open, a few tens of microseconds.
    ///
    /// # Errors
    ///
    /// A counter cannot be read, as when the set was removed.
    pub fn readings(&self) -> Result<Readings, CgroupError> {
        self.counters.read()
    }

    /// CPU time used so far: one read, in version 1 two.
    ///
    /// # Errors
    ///
    /// As of [`readings`](Self::readings).
    pub fn cpu_use(&self) -> Result<CpuUse, CgroupError> {
        self.counters.cpu_use(&self.groups)
    }

    /// Processes killed for lack of memory since the set was made.
    ///
    /// # Errors
    ///
    /// The count cannot be read.
    pub fn n_oom_kills(&self) -> Result<u64, CgroupError> {
        self.counters.n_oom_kills()
    }

    /// What the kernel has added up over the set's life, as far as it still says: also after everything in it ended.
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Asks the kernel for word whenever the set runs out of memory.
    ///
    /// # Errors
    ///
    /// The set has no memory controller, or the kernel refuses.
    pub fn watch_oom(&self) -> Result<OomWatch, CgroupError> {
        OomWatch::open(&self.groups)
    }

    /// Whether a directory of it was removed from the host: whatever still runs is not limited as it should be.
    pub fn is_removed(&self) -> bool {
        self.groups.iter().any(Group::is_removed)
    }

    /// Removes its directories. Killed processes hold on to them for a moment, so this tries again until `limit`.
    /// What is gone already is fine.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Timeout`] if it stays busy until `limit`, or the kernel refuses.
    pub fn remove(self, limit: Duration) -> Result<(), CgroupError> {
        let paths: Vec<PathBuf> = self.groups.iter().map(|group| group.path.clone()).collect();
        drop(self);
        directories::remove_dirs(&paths, limit)
    }
}
