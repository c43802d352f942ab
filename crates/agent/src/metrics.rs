//! `GET /metrics`: the sandbox as seen from inside. The server measures from outside; this is for who asks here.

use std::cell::RefCell;
use std::time::Instant;

use sandscope_agent_protocol::rest::AgentMetrics;

use crate::auth::unix_now;
use crate::small_file;

const MAX_BYTES: u64 = 256 * 1024;
const MIB: u64 = 1024 * 1024;

/// CPU time used by the whole sandbox, in microseconds, and when it was read.
pub(crate) struct CpuReading {
    used_us: u64,
    at: Instant,
}

pub(crate) fn read(last: &RefCell<Option<CpuReading>>) -> AgentMetrics {
    let cpu_count = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let now = cpu_used_us().map(|used_us| CpuReading { used_us, at: Instant::now() });
    let cpu_used_pct = match (last.borrow().as_ref(), &now) {
        (Some(before), Some(now)) => percent(before, now, cpu_count),
        _ => 0.0,
    };
    *last.borrow_mut() = now;
    let memory = memory();
    let (disk_used, disk_total) = disk();
    AgentMetrics {
        ts: unix_now().unsigned_abs(),
        cpu_count,
        cpu_used_pct,
        mem_total_mib: memory.total / MIB,
        mem_used_mib: memory.used / MIB,
        mem_total: memory.total,
        mem_used: memory.used,
        mem_cache: memory.cache,
        disk_used,
        disk_total,
    }
}

fn percent(before: &CpuReading, now: &CpuReading, cpu_count: u32) -> f64 {
    let elapsed_us = now.at.duration_since(before.at).as_micros() as f64 * f64::from(cpu_count);
    if elapsed_us <= 0.0 {
        return 0.0;
    }
    let used_us = now.used_us.saturating_sub(before.used_us) as f64;
    ((used_us / elapsed_us * 10_000.0).round() / 100.0).clamp(0.0, 100.0)
}

/// From the sandbox's own control group, of either version.
fn cpu_used_us() -> Option<u64> {
    if let Ok(text) = small_file::read("/sys/fs/cgroup/cpu.stat", MAX_BYTES)
        && let Some(used) = field(&text, "usage_usec")
    {
        return Some(used);
    }
    let text = small_file::read("/sys/fs/cgroup/cpuacct/cpuacct.usage", MAX_BYTES).ok()?;
    Some(text.trim().parse::<u64>().ok()? / 1000)
}

struct Memory {
    total: u64,
    used: u64,
    cache: u64,
}

fn memory() -> Memory {
    let group = |max: &str, current: &str, stat: &str, cache: &str| {
        let number = |path| small_file::read(path, MAX_BYTES).ok()?.trim().parse::<u64>().ok();
        let (total, current) = (number(max)?, number(current)?);
        let cache = field(&small_file::read(stat, MAX_BYTES).ok()?, cache)?;
        // Version 1 writes an absurdly large number for "no limit".
        (total < u64::MAX / 4).then(|| Memory { total, used: current.saturating_sub(cache), cache })
    };
    group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "file")
        .or_else(|| {
            group(
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes",
                "/sys/fs/cgroup/memory/memory.stat",
                "total_cache",
            )
        })
        .unwrap_or_else(|| meminfo(&small_file::read("/proc/meminfo", MAX_BYTES).unwrap_or_default()))
}

fn meminfo(text: &str) -> Memory {
    let bytes = |name| field(text, name).unwrap_or_default().saturating_mul(1024);
    let (total, cache) = (bytes("MemTotal:"), bytes("Cached:"));
    let free = bytes("MemFree:").saturating_add(bytes("Buffers:")).saturating_add(cache);
    Memory { total, used: total.saturating_sub(free), cache }
}

/// The number after `name` in a file of lines `name number …`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    })
}

fn disk() -> (u64, u64) {
    let Ok(found) = rustix::fs::statvfs("/") else {
        return (0, 0);
    };
    let total = found.f_blocks.saturating_mul(found.f_frsize);
    let available = found.f_bavail.saturating_mul(found.f_frsize);
    (total.saturating_sub(available), total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn percent_is_over_all_cpus() {
        let at = Instant::now();
        let before = CpuReading { used_us: 1_000_000, at };
        let now = CpuReading { used_us: 1_500_000, at: at + Duration::from_secs(1) };
        assert_eq!(percent(&before, &now, 2), 25.0);
        assert_eq!(percent(&before, &before, 2), 0.0);
        let restarted = CpuReading { used_us: 0, at: at + Duration::from_secs(1) };
        assert_eq!(percent(&before, &restarted, 2), 0.0);
    }

    #[test]
    fn memory_of_a_whole_machine() {
        let memory = meminfo("MemTotal: 1000 kB\nMemFree: 300 kB\nBuffers: 100 kB\nCached: 200 kB\n");
        assert_eq!((memory.total, memory.used, memory.cache), (1_024_000, 409_600, 204_800));
    }
}
