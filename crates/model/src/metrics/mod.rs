//! Readings and meanings are different types: [`Counters`] is what the kernel said, [`Sample`] what it means. The
//! numbers there are is listed in one table, the [catalogue](MetricField).

mod catalogue;
mod values;

pub use catalogue::{MetricEntry, MetricField, MetricKind, MetricUnit};
pub use values::Values;

use crate::{SandboxId, Timestamp};

/// Raw kernel readings of one sandbox at one moment. No arithmetic has been done on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// When the readings were taken, on the host's monotonic clock, in microseconds.
    pub taken_at_usec: u64,
    /// CPU time used by all processes together since the control group was made, in microseconds.
    pub cpu_usage_usec: u64,
    /// Memory charged to the sandbox, page cache included, in bytes.
    pub memory_current_bytes: u64,
    /// The part of it that the kernel can take back (page cache, reclaimable slab), in bytes.
    pub memory_reclaimable_bytes: u64,
    /// All page cache charged to the sandbox, in bytes.
    pub memory_file_bytes: u64,
    /// Times the kernel killed a process of this sandbox for lack of memory.
    pub n_oom_kills: u64,
    /// Processes and threads alive.
    pub n_pids: u64,
    /// Size of the writable layer, in bytes (`f_blocks * f_frsize`).
    pub disk_total_bytes: u64,
    /// What an unprivileged process could still write, in bytes (`f_bavail * f_frsize`).
    pub disk_available_bytes: u64,
    /// What is read for stored samples only, by field: levels, and totals so far where the catalogue stores what was
    /// added. A field the kernel does not report is absent; all are, where none were read.
    pub more: Values,
}

/// One point of a sandbox's metrics, derived from two readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The sandbox's id.
    pub sandbox_id: SandboxId,
    /// When it was taken (UTC).
    pub at: Timestamp,
    /// Its numbers.
    pub values: Values,
}

impl Sample {
    /// A field's number, if the engine and its kernel report it.
    pub const fn get(&self, field: MetricField) -> Option<u64> {
        self.values.get(field)
    }

    /// A field's number, 0 where there is none.
    pub const fn or_zero(&self, field: MetricField) -> u64 {
        match self.values.get(field) {
            Some(number) => number,
            None => 0,
        }
    }

    /// CPU used over all the sandbox's CPUs together, 0 to 100, two decimals.
    pub fn cpu_used_pct(&self) -> f64 {
        let hundredths = u32::try_from(self.or_zero(MetricField::CpuUsed)).unwrap_or(u32::MAX);
        f64::from(hundredths) / 100.0
    }

    /// CPUs the sandbox may use.
    pub fn cpu_count(&self) -> u32 {
        u32::try_from(self.or_zero(MetricField::CpuCount)).unwrap_or(u32::MAX)
    }

    /// CPUs in use.
    pub fn cpus_used(&self) -> f64 {
        self.cpu_used_pct() / 100.0 * f64::from(self.cpu_count())
    }
}
