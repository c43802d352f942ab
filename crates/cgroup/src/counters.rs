//! The kernel's counters, read from files kept open.

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::{Group, KeptFile};
use crate::hierarchy::Version;

/// Raw readings of one set. No arithmetic has been done on them but converting units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readings {
    /// CPU time used by all processes together since the set was made, in microseconds.
    pub cpu_usage_usec: u64,
    /// Memory charged, page cache included, in bytes.
    pub memory_current_bytes: u64,
    /// The part of it that the kernel can take back, in bytes: page cache, whether used lately or not, and reclaimable
    /// slab, which version 1 does not tell apart. Not shared memory and tmpfs, nor what is locked.
    pub memory_reclaimable_bytes: u64,
    /// All page cache charged, in bytes.
    pub memory_file_bytes: u64,
    /// Processes killed for lack of memory since the set was made.
    pub n_oom_kills: u64,
    /// Processes and threads alive.
    pub n_pids: u64,
}

/// CPU time of a set's processes together since the set was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuUse {
    /// All of it, in microseconds.
    pub usage_usec: u64,
    /// The part of it in the kernel, in microseconds: an estimate, from where the clock's ticks found them.
    pub system_usec: u64,
}

/// What the kernel adds up over a set's life. `None` where it does not say (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// CPU time used by all processes together, in microseconds.
    pub cpu_usage_usec: Option<u64>,
    /// The most memory charged at once, page cache included, in bytes. Version 2 says so from Linux 5.19 on.
    pub peak_memory_bytes: Option<u64>,
    /// Processes killed for lack of memory.
    pub n_oom_kills: Option<u64>,
}

/// The files behind [`Readings`]: five reads and no path is walked.
#[derive(Debug)]
pub(crate) struct CounterFiles {
    cpu: KeptFile,
    /// Version 1 counts nanoseconds in a bare number.
    cpu_version: Version,
    memory: KeptFile,
    memory_stat: KeptFile,
    /// All page cache, then what can be reclaimed.
    stat_keys: [&'static str; 4],
    oom: KeptFile,
    pids: KeptFile,
    peak: Option<KeptFile>,
}

impl CounterFiles {
    pub(crate) fn open(groups: &[Group]) -> Result<Self, CgroupError> {
        let with = |controller: Controller| {
            groups
                .iter()
                .find(|group| group.has(controller))
                .ok_or(CgroupError::ControllerMissing(controller))
        };
        let unified = groups.iter().find(|group| group.version == Version::V2);
        let cpu = match unified {
            Some(group) => group,
            None => with(Controller::Cpuacct)?,
        };
        let memory = with(Controller::Memory)?;
        let (current, oom, peak, stat_keys) = match memory.version {
            Version::V1 => (
                "memory.usage_in_bytes",
                "memory.oom_control",
                "memory.max_usage_in_bytes",
                ["total_cache", "total_inactive_file", "total_active_file", ""],
            ),
            Version::V2 => (
                "memory.current",
                "memory.events",
                "memory.peak",
                ["file", "inactive_file", "active_file", "slab_reclaimable"],
            ),
        };
        Ok(Self {
            cpu: cpu.keep(if unified.is_some() { "cpu.stat" } else { "cpuacct.usage" })?,
            cpu_version: cpu.version,
            memory: memory.keep(current)?,
            memory_stat: memory.keep("memory.stat")?,
            stat_keys,
            oom: memory.keep(oom)?,
            pids: with(Controller::Pids)?.keep("pids.current")?,
            peak: memory.keep(peak).ok(),
        })
    }

    pub(crate) fn read(&self) -> Result<Readings, CgroupError> {
        let [memory_file_bytes, inactive, active, slab] = self.memory_stat.keys(self.stat_keys)?;
        Ok(Readings {
            cpu_usage_usec: self.cpu_usage_usec()?,
            memory_current_bytes: self.memory.number()?,
            memory_reclaimable_bytes: inactive.saturating_add(active).saturating_add(slab),
            memory_file_bytes,
            n_oom_kills: self.n_oom_kills()?,
            n_pids: self.pids.number()?,
        })
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            cpu_usage_usec: self.cpu_usage_usec().ok(),
            peak_memory_bytes: self.peak.as_ref().and_then(|peak| peak.number().ok()),
            n_oom_kills: self.n_oom_kills().ok(),
        }
    }

    fn cpu_usage_usec(&self) -> Result<u64, CgroupError> {
        match self.cpu_version {
            Version::V1 => Ok(self.cpu.number()? / 1_000),
            Version::V2 => self.cpu.keyed("usage_usec"),
        }
    }

    pub(crate) fn cpu_use(&self, groups: &[Group]) -> Result<CpuUse, CgroupError> {
        if self.cpu_version == Version::V2 {
            let [usage_usec, system_usec, ..] =
                self.cpu.keys(["usage_usec", "system_usec", "user_usec", ""])?;
            return Ok(CpuUse { usage_usec, system_usec });
        }
        let group = groups.iter().find(|group| group.has(Controller::Cpuacct));
        let group = group.ok_or(CgroupError::ControllerMissing(Controller::Cpuacct))?;
        let system_usec = group.number("cpuacct.usage_sys")? / 1_000;
        Ok(CpuUse { usage_usec: self.cpu_usage_usec()?, system_usec })
    }

    pub(crate) fn n_oom_kills(&self) -> Result<u64, CgroupError> {
        self.oom.keyed("oom_kill")
    }
}
