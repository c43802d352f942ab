//! Everything the host knows about one sandbox at one moment, on request. What the kernel does not say is `None`,
//! never zero.

/// All readings of one sandbox.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// CPU time since the sandbox was created.
    pub cpu: CpuDetails,
    /// Memory in use, by kind, in bytes.
    pub memory: MemoryDetails,
    /// Time in which processes waited for CPU, memory or I/O.
    pub pressures: Pressures,
    /// The writable layer's size and use.
    pub disk: DiskDetails,
    /// What the writable layer's device did since the sandbox was created.
    pub disk_traffic: Option<DiskTraffic>,
    /// Its network interfaces, in the kernel's order.
    pub interfaces: Option<Vec<Interface>>,
    /// Processes and threads alive.
    pub n_pids: Option<u64>,
    /// How many there may be.
    pub max_pids: Option<u64>,
    /// Files its processes hold open.
    pub n_open_files: Option<u64>,
}

/// CPU time, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuDetails {
    /// All of it.
    pub usage_usec: Option<u64>,
    /// The part in user mode.
    pub user_usec: Option<u64>,
    /// The part in the kernel.
    pub system_usec: Option<u64>,
    /// Periods in which anything wanted to run.
    pub n_periods: Option<u64>,
    /// Periods in which the limit was reached.
    pub n_throttled: Option<u64>,
    /// Time during which somebody was held back by the limit.
    pub throttled_usec: Option<u64>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryDetails {
    /// All that is charged.
    pub current_bytes: Option<u64>,
    /// The most that was charged at once.
    pub peak_bytes: Option<u64>,
    /// Of processes, without files behind it.
    pub anon_bytes: Option<u64>,
    /// Page cache.
    pub file_bytes: Option<u64>,
    /// The kernel's own on the sandbox's behalf.
    pub kernel_bytes: Option<u64>,
    /// Swapped out.
    pub swap_bytes: Option<u64>,
    /// Processes killed for lack of memory.
    pub n_oom_kills: Option<u64>,
}

/// What processes waited for; `None` where the kernel does not count it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressures {
    /// Waits for CPU.
    pub cpu: Option<Pressure>,
    /// Waits for memory.
    pub memory: Option<Pressure>,
    /// I/O.
    pub io: Option<Pressure>,
}

/// Time in which processes waited for something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// At least one waited.
    pub some: Stall,
    /// All waited at once.
    pub full: Option<Stall>,
}

/// Share of time lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10_pct: f64,
    /// Percent of the last minute.
    pub avg60_pct: f64,
    /// Percent of the last five minutes.
    pub avg300_pct: f64,
    /// Altogether, in microseconds.
    pub total_usec: u64,
}

/// The writable layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskDetails {
    /// Its size, in bytes.
    pub total_bytes: u64,
    /// What an unprivileged process could still write, in bytes.
    pub available_bytes: u64,
    /// Files and directories it has room for.
    pub n_inodes: u64,
    /// How many more it has room for.
    pub n_inodes_free: u64,
}

/// What a disk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskTraffic {
    /// Read from it, in bytes.
    pub read_bytes: u64,
    /// Written to it, in bytes.
    pub written_bytes: u64,
    /// Reads finished.
    pub n_reads: u64,
    /// Writes finished.
    pub n_writes: u64,
}

/// A network interface's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The interface's name inside the sandbox.
    pub name: String,
    /// What came in.
    pub received: LinkTraffic,
    /// What went out.
    pub sent: LinkTraffic,
}

/// One direction of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkTraffic {
    /// Bytes so far.
    pub n_bytes: u64,
    /// Packets so far.
    pub n_packets: u64,
    /// Packets thrown away.
    pub n_dropped: u64,
}

/// A process of a sandbox at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessReading {
    /// Its number on the host.
    pub host_pid: i32,
    /// When it started, in clock ticks since the host booted: distinguishes it from a later one of the same number.
    pub started_ticks: u64,
    /// Its number inside the sandbox.
    pub pid: i32,
    /// What it calls itself, whatever that is.
    pub name: Vec<u8>,
    /// The kernel's letter: `R` runs, `S` sleeps, `D` waits for I/O, `Z` has ended …
    pub state: char,
    /// Its threads.
    pub n_threads: u32,
    /// CPU time it has used, in microseconds.
    pub cpu_usec: u64,
    /// Memory it has in RAM, shared parts included, in bytes.
    pub rss_bytes: u64,
}

/// A process and how busy it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// It, as last seen.
    pub reading: ProcessReading,
    /// CPU it used between two looks: 100 is one CPU kept busy.
    pub cpu_pct: f64,
}

impl Process {
    /// The processes of the second look, the busiest first, then by memory. One that was not there at the first look
    /// has used what it used since then.
    pub fn between(
        before: &[ProcessReading],
        after: Vec<ProcessReading>,
        elapsed: std::time::Duration,
    ) -> Vec<Self> {
        let key = |reading: &ProcessReading| (reading.host_pid, reading.started_ticks);
        let known: std::collections::HashMap<_, u64> =
            before.iter().map(|reading| (key(reading), reading.cpu_usec)).collect();
        let elapsed_usec = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut processes: Vec<Self> = after
            .into_iter()
            .map(|reading| {
                let used = reading.cpu_usec.saturating_sub(known.get(&key(&reading)).copied().unwrap_or(0));
                let hundredths = u128::from(used) * 10_000 / u128::from(elapsed_usec);
                let hundredths = u32::try_from(hundredths).unwrap_or(u32::MAX);
                Self { reading, cpu_pct: f64::from(hundredths) / 100.0 }
            })
            .collect();
        processes.sort_by(|one, other| {
            (other.cpu_pct.total_cmp(&one.cpu_pct))
                .then(other.reading.rss_bytes.cmp(&one.reading.rss_bytes))
                .then(one.reading.pid.cmp(&other.reading.pid))
        });
        processes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reading(pid: i32, started_ticks: u64, cpu_usec: u64) -> ProcessReading {
        ProcessReading {
            host_pid: pid,
            started_ticks,
            pid,
            name: b"x".to_vec(),
            state: 'R',
            n_threads: 1,
            cpu_usec,
            rss_bytes: 0,
        }
    }

    #[test]
    fn the_busiest_comes_first_and_a_reused_number_is_another_process() {
        let before = [reading(1, 10, 5_000_000), reading(2, 10, 1_000), reading(3, 10, 9_000_000)];
        let after = vec![reading(1, 10, 5_500_000), reading(2, 10, 2_001_000), reading(3, 99, 250_000)];
        let found = Process::between(&before, after, Duration::from_secs(1));
        let shares: Vec<_> = found.iter().map(|process| (process.reading.pid, process.cpu_pct)).collect();
        assert_eq!(shares, [(2, 200.0), (1, 50.0), (3, 25.0)]);
    }

    #[test]
    fn no_time_between_two_looks_is_no_division_by_zero() {
        let found = Process::between(&[], vec![reading(1, 1, 0)], Duration::ZERO);
        assert_eq!(found[0].cpu_pct, 0.0);
    }
}
