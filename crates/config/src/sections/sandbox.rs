use std::time::Duration;

use crate::kind::{seconds, whole};
use crate::setting::section;

section! {
    /// What sandboxes of the shipped templates get, and how sandboxes are looked after. CPUs, memory and disk hold from
    /// the first start on: templates keep what they were made with.
    pub Sandbox in "sandbox" said "" {
        /// CPUs of a sandbox
        vcpu_count: u32 = whole(2, 1..=256),
            key "vcpu_count", flag "vcpu-count" "N", env "SANDSCOPE_VCPU_COUNT";
        /// Memory of a sandbox, in MiB
        memory_mb: u32 = whole(512, 128..=1_048_576).counted_in("MiB"),
            key "memory_mb", flag "memory-mb" "MIB", env "SANDSCOPE_MEMORY_MB";
        /// Writable layer of a sandbox, in MiB
        disk_mb: u32 = whole(2454, 64..=1_048_576).counted_in("MiB"),
            key "disk_mb", flag "disk-mb" "MIB", env "SANDSCOPE_DISK_MB";
        /// Memory of the kernel that it charges to nobody, which a sandbox may hold, in MiB; one that holds more ends
        kernel_memory_mb: u32 = whole(64, 16..=1_048_576).counted_in("MiB"),
            key "kernel_memory_mb", flag "kernel-memory-mb" "MIB", env "SANDSCOPE_KERNEL_MEMORY_MB";
        /// Room kept free on the data directory's disk, in MiB, at most a tenth of it; nearing it, sandboxes may write no more
        disk_reserve_mb: u32 = whole(1024, 0..=1_048_576).counted_in("MiB"),
            key "disk_reserve_mb", flag "disk-reserve-mb" "MIB", env "SANDSCOPE_DISK_RESERVE_MB";
        /// What a sandbox may read from its disk, in MiB a second; 0 for as much as the disk gives
        disk_read_mb_per_s: u32 = whole(0, 0..=1_048_576).counted_in("MiB/s"),
            key "disk_read_mb_per_s", flag "disk-read-mb-per-s" "MIB", env "SANDSCOPE_DISK_READ_MB_PER_S";
        /// What a sandbox may write to its disk, in MiB a second; 0 for as much as the disk takes
        disk_write_mb_per_s: u32 = whole(0, 0..=1_048_576).counted_in("MiB/s"),
            key "disk_write_mb_per_s", flag "disk-write-mb-per-s" "MIB", env "SANDSCOPE_DISK_WRITE_MB_PER_S";
        /// Sandboxes made in advance, which makes creates faster; 0 for none
        n_warm: usize = whole(4, 0..=256).map(|n| n as usize, |n| u32::try_from(*n).unwrap_or(u32::MAX)),
            key "warm", flag "warm-sandboxes" "N", env "SANDSCOPE_WARM_SANDBOXES";
        /// Seconds between two checks of each agent; one silent for as long again is lost, and its sandbox ends
        agent_check: Duration = seconds(30, 1..=3600),
            key "agent_check_s", flag "agent-check-s" "SECONDS", env "SANDSCOPE_AGENT_CHECK_S";
        /// Seconds between two comparisons of the store with the host
        reconcile: Duration = seconds(300, 1..=86_400),
            key "reconcile_s", flag "reconcile-s" "SECONDS", env "SANDSCOPE_RECONCILE_S";
    }
}

impl Sandbox {
    /// Whether anything limits how fast sandboxes use their disks.
    pub const fn limits_disks(&self) -> bool {
        self.disk_read_mb_per_s > 0 || self.disk_write_mb_per_s > 0
    }
}
