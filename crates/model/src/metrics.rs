//! Readings and meanings are different types: [`Counters`] is what the kernel said, [`Sample`] what it means.

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
    /// The part of it that is page cache the kernel would reclaim first (`inactive_file`), in bytes.
    pub memory_inactive_file_bytes: u64,
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
}

/// One point of a sandbox's metrics, derived from two readings.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Whose it is.
    pub sandbox_id: SandboxId,
    /// When it was taken (UTC).
    pub at: Timestamp,
    /// CPU used over all the sandbox's CPUs together, 0 to 100, two decimals.
    pub cpu_used_pct: f64,
    /// CPUs the sandbox may use.
    pub cpu_count: u32,
    /// Memory in use without reclaimable cache, in bytes.
    pub mem_used_bytes: u64,
    /// Memory limit, in bytes.
    pub mem_total_bytes: u64,
    /// Page cache, in bytes.
    pub mem_cache_bytes: u64,
    /// Used part of the writable layer: total minus available, in bytes.
    pub disk_used_bytes: u64,
    /// Size of the writable layer, in bytes.
    pub disk_total_bytes: u64,
}
