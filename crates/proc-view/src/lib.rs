//! What programs read of memory, processors and load: the sandbox's own, in files of ours where the kernel's tell of the
//! host.
//!
//! ```text
//!   shim: makes a small file system in memory, holds it open ──► first process: shows its files, read-only
//!   server: fills it when the sandbox becomes somebody's; with each reading of its counters writes what has changed
//! ```
//!
//! Nothing runs for it inside or beside the sandbox, so nothing of it can hang while the sandbox is frozen, and it
//! outlives servers: what it says is then as old as the last reading. Every file keeps its length, so that a reader
//! never finds half of one. What a reader finds during a write may be a little of both.
//!
//! Ownership: the file system lives as long as the shim. The server writes through a descriptor of the shim's.

#![warn(clippy::disallowed_methods)]

mod render;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::time::ClockId;
use sandscope_model::Counters;
use serde::{Deserialize, Serialize};

use self::render::{Load, Memory, Times, Usage};

/// Files of `/proc` with these names.
const FILES: [&str; 4] = ["cpuinfo", "loadavg", "meminfo", "stat"];
/// Shown below `/proc/sys/kernel/random`.
pub const BOOT_ID: &str = "boot_id";
/// A directory, shown as `/sys/devices/system/cpu`. Its files are one, by several names.
pub const CPUS: &str = "cpu";
const CPU_LISTS: [&str; 3] = ["online", "possible", "present"];
/// The shim's, through which later servers write.
pub const VIEW_DESCRIPTOR: i32 = 5;
/// A sandbox that does nothing has its idle time written down after as long, in clock ticks.
const IDLE_TICKS: u64 = 1_000;

/// What a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Processors, at least one.
    pub n_cpus: u32,
    /// In MiB.
    pub memory_mb: u32,
}

/// Makes the files, empty but for the one that never changes. The mount returned is the one that can be written through.
///
/// # Errors
///
/// What the kernel says to a file system in memory: no memory left, or no right to make one.
pub fn make(uid_base: u32) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let owner = uid_base.to_string();
    for (key, value) in [("mode", "555"), ("size", "1m"), ("uid", &owner), ("gid", &owner)] {
        rustix::mount::fsconfig_set_string(&context, key, value)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let dir = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    rustix::fs::mkdirat(&dir, CPUS, Mode::from_raw_mode(0o555))?;
    let [first, others @ ..] = CPU_LISTS.map(|name| format!("{CPUS}/{name}"));
    for name in FILES.into_iter().chain([BOOT_ID, first.as_str()]) {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o444))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))?;
        let (user, group) = (Uid::from_raw(uid_base), Gid::from_raw(uid_base));
        rustix::fs::fchown(&file, Some(user), Some(group))?;
    }
    for name in others {
        rustix::fs::linkat(&dir, first.as_str(), &dir, name, rustix::fs::AtFlags::empty())?;
    }
    // The kernel's own makes another each time it is read.
    write(dir.as_fd(), BOOT_ID, &fs::read("/proc/sys/kernel/random/uuid")?)?;
    Ok(dir)
}

fn write(dir: BorrowedFd<'_>, name: &str, text: &[u8]) -> io::Result<()> {
    let file = rustix::fs::openat(dir, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::pwrite(&file, text, 0))?;
    Ok(())
}

/// One sandbox's, in the server's hands.
#[derive(Debug)]
pub struct View {
    dir: OwnedFd,
    said: Mutex<Option<Said>>,
}

/// What has been written last.
#[derive(Debug)]
struct Said {
    size: Size,
    /// When the sandbox was made, on the clock of counters.
    since_usec: i64,
    made_at: u64,
    load: Load,
    usage: Option<Usage>,
    times: Times,
    load_text: String,
}

impl View {
    /// `dir`: what [`make`] returned.
    pub const fn new(dir: OwnedFd) -> Self {
        Self { dir, said: Mutex::new(None) }
    }

    /// The one of a sandbox that was made earlier, if it has one: versions before made none.
    pub fn of_shim(shim: i32) -> Option<Self> {
        let path = format!("/proc/{shim}/fd/{VIEW_DESCRIPTOR}");
        let dir = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        rustix::fs::accessat(&dir, "meminfo", rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty())
            .ok()?;
        Some(Self::new(dir))
    }

    /// Says what the sandbox has. `started`: its first process, in clock ticks since the host booted.
    ///
    /// # Errors
    ///
    /// A file cannot be written: the file system is another one, or its 1 MiB are full.
    pub fn fill(&self, size: Size, started: u64, now: SystemTime) -> io::Result<()> {
        let size = Size { n_cpus: size.n_cpus.clamp(1, n_host_cpus()), ..size };
        let write = |name: &str, text: &str| write(self.dir.as_fd(), name, text.as_bytes());
        write("cpuinfo", &render::cpuinfo(&HOST_CPUINFO, size.n_cpus))?;
        write(&format!("{CPUS}/{}", CPU_LISTS[0]), &render::cpu_list(size.n_cpus))?;
        let said = Said::new(size, started, now);
        write("meminfo", &render::meminfo(size.memory_mb, Memory::default()))?;
        write("stat", &render::stat(&said.times, size.n_cpus, said.made_at, 1))?;
        write("loadavg", &said.load_text)?;
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        Ok(())
    }

    /// Goes on with one that was filled by an earlier server.
    pub fn go_on(&self, size: Size, started: u64, now: SystemTime) {
        let size = Size { n_cpus: size.n_cpus.clamp(1, n_host_cpus()), ..size };
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(Said::new(size, started, now));
    }

    /// Writes what has changed: nothing for most sandboxes most of the time.
    ///
    /// # Errors
    ///
    /// As those of [`View::fill`].
    pub fn refresh(&self, now: &Counters) -> io::Result<()> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(said) = said.as_mut() else { return Ok(()) };
        let write = |name: &str, text: &str| write(self.dir.as_fd(), name, text.as_bytes());
        let now = Usage::from(now);
        let before = said.usage.replace(now);
        if before.is_none_or(|before| before.memory != now.memory) {
            write("meminfo", &render::meminfo(said.size.memory_mb, now.memory))?;
        }
        let times = Times::of(&now, said.since_usec, said.size.n_cpus);
        if times.busy != said.times.busy || times.idle >= said.times.idle.saturating_add(IDLE_TICKS) {
            said.times = times;
            write("stat", &render::stat(&said.times, said.size.n_cpus, said.made_at, now.n_pids))?;
        }
        if let Some(before) = &before {
            said.load.add(before, &now);
        }
        let load_text = render::loadavg(&said.load, now.n_pids);
        if load_text != said.load_text {
            write("loadavg", &load_text)?;
            said.load_text = load_text;
        }
        Ok(())
    }
}

impl Said {
    fn new(size: Size, started: u64, now: SystemTime) -> Self {
        let usec_of = |clock| {
            let now = rustix::time::clock_gettime(clock);
            now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000)
        };
        let started_usec =
            i64::try_from(started).unwrap_or(i64::MAX).saturating_mul(render::USEC_PER_TICK as i64);
        let age_usec = usec_of(ClockId::Boottime).saturating_sub(started_usec).max(0);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let load = Load::default();
        Self {
            size,
            since_usec: usec_of(ClockId::Monotonic).saturating_sub(age_usec),
            made_at: now.saturating_sub(age_usec.unsigned_abs() / 1_000_000),
            load_text: render::loadavg(&load, 1),
            load,
            usage: None,
            times: Times::default(),
        }
    }
}

/// The host's, as far as this process may use them.
fn n_host_cpus() -> u32 {
    static N: LazyLock<u32> = LazyLock::new(|| {
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
    });
    *N
}

/// What the host says of its first processor.
static HOST_CPUINFO: LazyLock<String> = LazyLock::new(|| {
    let all = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    all.split("\n\n").next().unwrap_or_default().to_owned()
});
