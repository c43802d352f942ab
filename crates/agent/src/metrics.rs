//! `GET /metrics`: the sandbox as seen from inside. The server measures from outside, and better; this is for
//! programs inside.
//!
//! What a sandbox sees of its memory and processors is as old as the server's last reading. So its limits
//! come with `/init`, and what it uses is added up over its processes: times of those that run and, through the first
//! process, of those that have ended; memory that is a process's own, and files in memory.

use std::cell::RefCell;
use std::time::Instant;

use http::StatusCode;
use sandscope_agent_protocol::rest::AgentMetrics;

use crate::body::Refusal;
use crate::settings::Limits;
use crate::small_file;
use crate::{now, pool};

const MAX_BYTES: u64 = 256 * 1024;
const MIB: u64 = 1024 * 1024;

/// Microseconds in the kernel's unit of CPU time, the same on every architecture.
const TICK_US: u64 = 10_000;

/// File systems in memory, which a sandbox's limit counts.
const IN_MEMORY: [&str; 3] = ["/dev/shm", "/run", "/dev"];

/// CPU time used by the whole sandbox, in microseconds, and when it was read.
#[derive(Clone, Copy)]
pub(crate) struct CpuReading {
    used_us: u64,
    at: Instant,
}

struct Reading {
    cpu: CpuReading,
    memory: Memory,
    disk_used: u64,
    disk_total: u64,
}

struct Memory {
    total: u64,
    used: u64,
    cache: u64,
}

pub(crate) async fn read(
    limits: Limits,
    last: &RefCell<Option<CpuReading>>,
) -> Result<AgentMetrics, Refusal> {
    let cpu_count = limits
        .cpu_count
        .filter(|count| *count > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |count| count.get() as u32));
    let reading = pool::run(move || measure(limits)).await;
    let reading =
        reading.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let before = last.borrow_mut().replace(reading.cpu);
    Ok(AgentMetrics {
        ts: now::unix_seconds().unsigned_abs(),
        cpu_count,
        cpu_used_pct: before.map_or(0.0, |before| percent(&before, &reading.cpu, cpu_count)),
        mem_total_mib: reading.memory.total / MIB,
        mem_used_mib: reading.memory.used / MIB,
        mem_total: reading.memory.total,
        mem_used: reading.memory.used,
        mem_cache: reading.memory.cache,
        disk_used: reading.disk_used,
        disk_total: reading.disk_total,
    })
}

fn percent(before: &CpuReading, now: &CpuReading, cpu_count: u32) -> f64 {
    let elapsed_us = now.at.duration_since(before.at).as_micros() as f64 * f64::from(cpu_count);
    if elapsed_us <= 0.0 {
        return 0.0;
    }
    let used_us = now.used_us.saturating_sub(before.used_us) as f64;
    ((used_us / elapsed_us * 10_000.0).round() / 100.0).clamp(0.0, 100.0)
}

fn measure(limits: Limits) -> Reading {
    let usage = usage();
    let memory = match limits.memory_bytes {
        Some(total) => {
            let files: u64 = IN_MEMORY.iter().map(|path| space(path).0).sum();
            // Its cache is the kernel's business, which does not report it here.
            Memory { total, used: usage.memory.saturating_add(files).min(total), cache: 0 }
        }
        None => meminfo(&small_file::read("/proc/meminfo", MAX_BYTES).unwrap_or_default()),
    };
    let (disk_used, disk_total) = space("/");
    let cpu = CpuReading { used_us: usage.ticks.saturating_mul(TICK_US), at: Instant::now() };
    Reading { cpu, memory, disk_used, disk_total }
}

/// What all processes together use.
#[derive(Default)]
struct Usage {
    /// CPU time.
    ticks: u64,
    /// Bytes that are theirs alone.
    memory: u64,
}

fn usage() -> Usage {
    let mut usage = Usage::default();
    let page = rustix::param::page_size() as u64;
    let Ok(processes) = std::fs::read_dir("/proc") else { return usage };
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(name) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        // Whatever has ended meanwhile counts with its parent.
        if let Ok(stat) = small_file::read(&format!("/proc/{name}/stat"), MAX_BYTES) {
            usage.ticks = usage.ticks.saturating_add(ticks(&stat));
        }
        if let Ok(statm) = small_file::read(&format!("/proc/{name}/statm"), MAX_BYTES) {
            usage.memory = usage.memory.saturating_add(own_pages(&statm).saturating_mul(page));
        }
    }
    usage
}

/// CPU time of a process and of its children that were waited for. The name, in parentheses, may hold anything.
fn ticks(stat: &str) -> u64 {
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0 };
    let times = fields.split_ascii_whitespace().skip(11).take(4);
    times.filter_map(|field| field.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

/// Resident pages that are no file's and nobody else's.
fn own_pages(statm: &str) -> u64 {
    let mut pages = statm.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared)
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

/// Used and all bytes of the file system at `path`.
fn space(path: &str) -> (u64, u64) {
    let Ok(found) = rustix::fs::statvfs(path) else {
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

    #[test]
    fn files_of_a_process() {
        let stat = "7 (a) S 1 ) x) R 1 7 7 0 -1 4194560 90 0 0 0 11 22 33 44 20 0 1 0 100 5 6";
        assert_eq!(ticks(stat), 110);
        assert_eq!(ticks("7 nonsense"), 0);
        assert_eq!(own_pages("900 120 20 5 0 60 0\n"), 100);
        assert_eq!(own_pages(""), 0);
    }
}
