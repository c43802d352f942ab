//! Everything the kernel says about a set, read on request: about fifteen files, opened for each reading.
//!
//! What a kernel, a mount or a version does not have is `None`, never zero. `docs/metrics.md` says which is which.

use sandscope_model::{CpuDetails, MemoryDetails, Pressures};

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::Group;
use crate::hierarchy::Version;
use crate::parse;
use crate::set::CgroupSet;

/// Everything the kernel says about one set at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Details {
    /// CPU time since the set was made.
    pub cpu: CpuDetails,
    /// Memory; OOM kills since the set was made.
    pub memory: MemoryDetails,
    /// How long processes waited for a resource.
    pub pressures: Pressures,
    /// Processes and threads alive.
    pub n_pids: Option<u64>,
    /// How many there may be; `None` also where there is no limit.
    pub max_pids: Option<u64>,
}

impl CgroupSet {
    /// Reads everything, as far as the kernel says it.
    pub fn details(&self) -> Details {
        let groups = self.groups();
        let with = |controller| groups.iter().find(|group| group.has(controller));
        let unified = groups.iter().find(|group| group.version == Version::V2);
        let pids = with(Controller::Pids);
        Details {
            cpu: cpu(unified, with(Controller::Cpu), with(Controller::Cpuacct)),
            memory: with(Controller::Memory).map(memory).unwrap_or_default(),
            pressures: self.pressures(),
            n_pids: pids.and_then(|group| number(group, "pids.current")),
            max_pids: pids.and_then(|group| number(group, "pids.max")),
        }
    }

    /// Reads the stalls alone: three files.
    pub fn pressures(&self) -> Pressures {
        let unified = self.groups().iter().find(|group| group.version == Version::V2);
        let pressure =
            |file| unified.and_then(|group| group.text(file)).and_then(|text| parse::pressure(&text));
        Pressures {
            cpu: pressure("cpu.pressure"),
            memory: pressure("memory.pressure"),
            io: pressure("io.pressure"),
        }
    }

    /// The processes in it, by the host's numbers, `limit` at most.
    ///
    /// # Errors
    ///
    /// The processes cannot be listed, as when the set was removed.
    pub fn processes(&self, limit: usize) -> Result<Vec<i32>, CgroupError> {
        let groups = self.groups();
        let unified = groups.iter().find(|group| group.version == Version::V2);
        let mut pids = match unified.or_else(|| groups.first()) {
            Some(group) => group.processes()?,
            None => Vec::new(),
        };
        pids.truncate(limit);
        Ok(pids)
    }

    /// Lets the peak of memory start over, where the kernel can do that for every reader (version 1).
    pub fn reset_peak(&self) {
        let memory = self.groups().iter().find(|group| group.has(Controller::Memory));
        if let Some(group) = memory.filter(|group| group.version == Version::V1) {
            // A peak that stays too high is no reason to fail.
            let _kept = group.write("memory.max_usage_in_bytes", "0");
        }
    }
}

/// Time comes from version 2 wherever it is mounted, its limit from where the limit is set.
fn cpu(unified: Option<&Group>, limited: Option<&Group>, accounted: Option<&Group>) -> CpuDetails {
    let mut details = CpuDetails::default();
    if let Some(stat) = unified.and_then(|group| group.text("cpu.stat")) {
        details.usage_usec = parse::keyed(&stat, "usage_usec");
        details.user_usec = parse::keyed(&stat, "user_usec");
        details.system_usec = parse::keyed(&stat, "system_usec");
    } else if let Some(group) = accounted {
        let microseconds = |file| number(group, file).map(|nanoseconds| nanoseconds / 1_000);
        details.usage_usec = microseconds("cpuacct.usage");
        details.user_usec = microseconds("cpuacct.usage_user");
        details.system_usec = microseconds("cpuacct.usage_sys");
    }
    if let Some((group, stat)) = limited.and_then(|group| group.text("cpu.stat").map(|stat| (group, stat))) {
        details.n_periods = parse::keyed(&stat, "nr_periods");
        details.n_throttled = parse::keyed(&stat, "nr_throttled");
        details.throttled_usec = match group.version {
            Version::V1 => parse::keyed(&stat, "throttled_time").map(|nanoseconds| nanoseconds / 1_000),
            Version::V2 => parse::keyed(&stat, "throttled_usec"),
        };
    }
    details
}

fn memory(group: &Group) -> MemoryDetails {
    let stat = group.text("memory.stat").unwrap_or_default();
    let keyed = |key| parse::keyed(&stat, key);
    match group.version {
        Version::V1 => MemoryDetails {
            current_bytes: number(group, "memory.usage_in_bytes"),
            peak_bytes: number(group, "memory.max_usage_in_bytes"),
            anon_bytes: keyed("total_rss"),
            file_bytes: keyed("total_cache"),
            kernel_bytes: number(group, "memory.kmem.usage_in_bytes"),
            swap_bytes: keyed("total_swap"),
            n_oom_kills: group.text("memory.oom_control").and_then(|text| parse::keyed(&text, "oom_kill")),
        },
        Version::V2 => MemoryDetails {
            current_bytes: number(group, "memory.current"),
            peak_bytes: number(group, "memory.peak"),
            anon_bytes: keyed("anon"),
            file_bytes: keyed("file"),
            kernel_bytes: keyed("kernel"),
            swap_bytes: number(group, "memory.swap.current"),
            n_oom_kills: group.text("memory.events").and_then(|text| parse::keyed(&text, "oom_kill")),
        },
    }
}

/// The number in a file; none where it is absent, and where it says that there is no limit.
fn number(group: &Group, file: &str) -> Option<u64> {
    group.text(file).and_then(|text| parse::number(&text)).filter(|number| *number != u64::MAX)
}

#[cfg(test)]
#[path = "details_tests.rs"]
mod tests;
