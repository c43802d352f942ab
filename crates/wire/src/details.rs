//! Everything about one sandbox at one moment, as answered: a key is always there, and `null` where the kernel of the
//! host does not say (see `docs/metrics.md`).

use std::fmt::Write as _;

use sandscope_model::{
    Details, Interface, LinkTraffic, Pressure, Pressures, Process, Sandbox, Stall, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::to_second;

/// Everything the kernel knows about a sandbox now. Counters start at its creation and go on over pauses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxDetails {
    /// When, to the second.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The same as unix seconds.
    pub timestamp_unix: i64,
    /// CPU time.
    pub cpu: CpuMetrics,
    /// Memory.
    pub memory: MemoryMetrics,
    /// Time lost waiting.
    pub pressure: PressureMetrics,
    /// The writable layer.
    pub disk: DiskMetrics,
    /// Network interfaces; `null` where they cannot be read.
    #[schema(required)]
    pub network: Option<Vec<InterfaceMetrics>>,
    /// Processes and what they hold.
    pub processes: ProcessMetrics,
}

/// CPU time, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuMetrics {
    /// CPUs the sandbox may use.
    pub count: u32,
    /// All CPU time used.
    #[schema(required)]
    pub usage_usec: Option<u64>,
    /// The part in user mode.
    #[schema(required)]
    pub user_usec: Option<u64>,
    /// The part in the kernel.
    #[schema(required)]
    pub system_usec: Option<u64>,
    /// Periods (100 ms) in which anything wanted to run.
    #[schema(required)]
    pub periods: Option<u64>,
    /// Periods in which the limit was reached.
    #[schema(required)]
    pub throttled_periods: Option<u64>,
    /// Time during which threads were held back by the limit, all CPUs added up.
    #[schema(required)]
    pub throttled_usec: Option<u64>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryMetrics {
    /// The limit.
    pub limit: u64,
    /// All that is charged, page cache included.
    #[schema(required)]
    pub current: Option<u64>,
    /// The most that was charged at once.
    #[schema(required)]
    pub peak: Option<u64>,
    /// Processes' own, without files behind it.
    #[schema(required)]
    pub anon: Option<u64>,
    /// Page cache.
    #[schema(required)]
    pub file: Option<u64>,
    /// The kernel's on the sandbox's behalf.
    #[schema(required)]
    pub kernel: Option<u64>,
    /// Swapped out.
    #[schema(required)]
    pub swap: Option<u64>,
    /// Processes killed for lack of memory.
    #[schema(required)]
    pub oom_kills: Option<u64>,
}

/// Pressure stall information.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PressureMetrics {
    /// Waiting for CPU.
    #[schema(required)]
    pub cpu: Option<PressureMetric>,
    /// Waiting for memory.
    #[schema(required)]
    pub memory: Option<PressureMetric>,
    /// Waiting for I/O.
    #[schema(required)]
    pub io: Option<PressureMetric>,
}

/// Waiting for one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PressureMetric {
    /// At least one process waited.
    pub some: StallMetric,
    /// All processes waited at once.
    #[schema(required)]
    pub full: Option<StallMetric>,
}

/// Share of time lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StallMetric {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Altogether, in microseconds.
    pub total_usec: u64,
}

/// The writable layer and its device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskMetrics {
    /// Used: total minus available, in bytes.
    pub used: u64,
    /// Size, in bytes.
    pub total: u64,
    /// Files and directories in it.
    pub inodes_used: u64,
    /// How many it has room for.
    pub inodes_total: u64,
    /// Read from its device, in bytes.
    #[schema(required)]
    pub read_bytes: Option<u64>,
    /// Written to its device, in bytes.
    #[schema(required)]
    pub written_bytes: Option<u64>,
    /// Reads its device finished.
    #[schema(required)]
    pub reads: Option<u64>,
    /// Writes its device finished.
    #[schema(required)]
    pub writes: Option<u64>,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceMetrics {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets thrown away on their way in.
    pub rx_drops: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets thrown away on their way out.
    pub tx_drops: u64,
}

/// Processes and what they hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessMetrics {
    /// Processes and threads alive.
    #[schema(required)]
    pub current: Option<u64>,
    /// How many there may be.
    #[schema(required)]
    pub max: Option<u64>,
    /// Files they hold open.
    #[schema(required)]
    pub open_files: Option<u64>,
}

impl SandboxDetails {
    /// What was read of `sandbox` at `at`.
    pub fn new(sandbox: &Sandbox, at: Timestamp, details: &Details) -> Self {
        let (cpu, memory, disk) = (&details.cpu, &details.memory, &details.disk);
        let traffic = details.disk_traffic.as_ref();
        Self {
            timestamp: to_second(at),
            timestamp_unix: at.as_second(),
            cpu: CpuMetrics {
                count: sandbox.spec.vcpu_count,
                usage_usec: cpu.usage_usec,
                user_usec: cpu.user_usec,
                system_usec: cpu.system_usec,
                periods: cpu.n_periods,
                throttled_periods: cpu.n_throttled,
                throttled_usec: cpu.throttled_usec,
            },
            memory: MemoryMetrics {
                limit: u64::from(sandbox.spec.memory_mb) << 20,
                current: memory.current_bytes,
                peak: memory.peak_bytes,
                anon: memory.anon_bytes,
                file: memory.file_bytes,
                kernel: memory.kernel_bytes,
                swap: memory.swap_bytes,
                oom_kills: memory.n_oom_kills,
            },
            pressure: details.pressures.into(),
            disk: DiskMetrics {
                used: disk.total_bytes.saturating_sub(disk.available_bytes),
                total: disk.total_bytes,
                inodes_used: disk.n_inodes.saturating_sub(disk.n_inodes_free),
                inodes_total: disk.n_inodes,
                read_bytes: traffic.map(|traffic| traffic.read_bytes),
                written_bytes: traffic.map(|traffic| traffic.written_bytes),
                reads: traffic.map(|traffic| traffic.n_reads),
                writes: traffic.map(|traffic| traffic.n_writes),
            },
            network: details.interfaces.as_ref().map(|all| all.iter().map(Into::into).collect()),
            processes: ProcessMetrics {
                current: details.n_pids,
                max: details.max_pids,
                open_files: details.n_open_files,
            },
        }
    }
}

impl From<Pressures> for PressureMetrics {
    fn from(pressures: Pressures) -> Self {
        Self {
            cpu: pressures.cpu.map(Into::into),
            memory: pressures.memory.map(Into::into),
            io: pressures.io.map(Into::into),
        }
    }
}

impl From<Pressure> for PressureMetric {
    fn from(pressure: Pressure) -> Self {
        Self { some: pressure.some.into(), full: pressure.full.map(Into::into) }
    }
}

impl From<Stall> for StallMetric {
    fn from(stall: Stall) -> Self {
        Self {
            avg10: stall.avg10_pct,
            avg60: stall.avg60_pct,
            avg300: stall.avg300_pct,
            total_usec: stall.total_usec,
        }
    }
}

impl From<&Interface> for InterfaceMetrics {
    fn from(interface: &Interface) -> Self {
        let (LinkTraffic { n_bytes, n_packets, n_dropped }, sent) = (interface.received, interface.sent);
        Self {
            name: printable(interface.name.as_bytes()),
            rx_bytes: n_bytes,
            rx_packets: n_packets,
            rx_drops: n_dropped,
            tx_bytes: sent.n_bytes,
            tx_packets: sent.n_packets,
            tx_drops: sent.n_dropped,
        }
    }
}

/// One process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxProcess {
    /// Its number inside the sandbox.
    pub pid: i32,
    /// What it calls itself, up to 15 bytes; whatever could not be shown is written as `\x..` or `\u{..}`.
    pub command: String,
    /// The kernel's letter: `R` runs, `S` sleeps, `D` waits for I/O, `T` is stopped, `Z` has ended.
    pub state: String,
    /// CPU used during the look: 100 is one CPU kept busy.
    pub cpu_pct: f64,
    /// CPU time used altogether, in microseconds.
    pub cpu_usec: u64,
    /// Memory in RAM, parts shared with others included, in bytes.
    pub rss_bytes: u64,
    /// Its threads.
    pub threads: u32,
}

impl From<&Process> for SandboxProcess {
    fn from(process: &Process) -> Self {
        let reading = &process.reading;
        Self {
            pid: reading.pid,
            command: printable(&reading.name),
            state: reading.state.to_string(),
            cpu_pct: process.cpu_pct,
            cpu_usec: reading.cpu_usec,
            rss_bytes: reading.rss_bytes,
            threads: reading.n_threads,
        }
    }
}

/// `bytes` as a text that a terminal, a page or a log shows as it is: everything that could move a cursor, turn
/// letters around or break a line is escaped.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                ' '..='~' => text.push(char),
                char if char.is_alphanumeric() => text.push(char),
                // Writing to a text cannot fail.
                char => {
                    let _ = write!(text, "\\u{{{:x}}}", u32::from(char));
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_and_not_obeyed() {
        assert_eq!(printable(b"python3.11"), "python3.11");
        assert_eq!(printable("grün ö".as_bytes()), "grün ö");
        assert_eq!(printable(b"\x1b[2Jx\n"), "\\u{1b}[2Jx\\u{a}");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(printable(b"\xff\xfe\\"), "\\xff\\xfe\\\\");
    }
}
