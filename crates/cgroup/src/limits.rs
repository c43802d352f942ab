//! What a sandbox may use.

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::Group;
use crate::hierarchy::Version;

/// The period CPU time is handed out in, in microseconds.
const CPU_PERIOD_USEC: u64 = 100_000;

/// With version 1, socket buffers may take one such part of the memory limit, on top of it.
const SOCKET_SHARE: u64 = 4;

/// What a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// CPUs' worth of time, at least 1.
    pub cpu_count: u32,
    /// Memory in bytes, page cache included. There is no swap on top of it.
    pub memory_bytes: u64,
    /// Processes and threads together.
    pub pids_max: u32,
}

/// Character devices a sandbox may open, as `major:minor`. Making device nodes is not among its rights.
const DEVICES: [(&str, &str); 8] = [
    ("null", "1:3"),
    ("zero", "1:5"),
    ("full", "1:7"),
    ("random", "1:8"),
    ("urandom", "1:9"),
    ("tty", "5:0"),
    ("ptmx", "5:2"),
    ("pts", "136:*"),
];

pub(crate) fn apply(groups: &[Group], limits: &Limits) -> Result<(), CgroupError> {
    for group in groups {
        if group.has(Controller::Cpu) {
            set_cpu(group, limits.cpu_count)?;
        }
        if group.has(Controller::Memory) {
            set_memory(group, limits.memory_bytes)?;
        }
        if group.has(Controller::Pids) {
            group.write("pids.max", &limits.pids_max.to_string())?;
        }
    }
    Ok(())
}

fn set_cpu(group: &Group, cpu_count: u32) -> Result<(), CgroupError> {
    let quota = u64::from(cpu_count.max(1)) * CPU_PERIOD_USEC;
    match group.version {
        Version::V1 => {
            group.write("cpu.cfs_period_us", &CPU_PERIOD_USEC.to_string())?;
            group.write("cpu.cfs_quota_us", &quota.to_string())
        }
        Version::V2 => group.write("cpu.max", &format!("{quota} {CPU_PERIOD_USEC}")),
    }
}

fn set_memory(group: &Group, bytes: u64) -> Result<(), CgroupError> {
    let value = bytes.to_string();
    match group.version {
        Version::V2 => {
            // Absent in kernels without swap.
            group.write_if_there("memory.swap.max", "0")?;
            group.write("memory.max", &value)
        }
        Version::V1 => {
            // The kernel insists on memory <= memory and swap at every step, so the order depends on the direction.
            let both = "memory.memsw.limit_in_bytes";
            let raises = group.number("memory.limit_in_bytes")? < bytes;
            let swap_counted = if raises { group.write_if_there(both, &value)? } else { false };
            group.write("memory.limit_in_bytes", &value)?;
            let swap_counted = if raises { swap_counted } else { group.write_if_there(both, &value)? };
            if !swap_counted {
                group.write_if_there("memory.swappiness", "0")?;
            }
            // What waits in sockets is counted apart here, without any limit of its own at first.
            group.write_if_there("memory.kmem.tcp.limit_in_bytes", &(bytes / SOCKET_SHARE).to_string())?;
            Ok(())
        }
    }
}

/// Replaces the inherited list by [`DEVICES`]. Version 1 only; for version 2 see the crate's head.
pub(crate) fn restrict_devices(groups: &[Group]) -> Result<(), CgroupError> {
    let Some(group) = groups.iter().find(|group| group.has(Controller::Devices)) else { return Ok(()) };
    group.write("devices.deny", "a")?;
    for (_, numbers) in DEVICES {
        group.write("devices.allow", &format!("c {numbers} rw"))?;
    }
    Ok(())
}
