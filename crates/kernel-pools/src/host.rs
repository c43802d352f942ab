//! What the kernel uses for the whole host.

use std::fs;

/// What the kernel uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Host {
    /// Bytes that are neither free nor page cache nor processes', nor taken back on demand: what the kernel uses itself.
    pub(crate) kernel_bytes: u64,
    /// The part of them that is sure to be the kernel's structures and cannot be taken back.
    pub(crate) fixed_bytes: u64,
    /// Open files, and how many there may be.
    pub(crate) n_files: u64,
    pub(crate) max_files: u64,
    /// CPU time spent in the kernel, in microseconds.
    pub(crate) system_usec: u64,
}

impl Host {
    /// Reads it; `None` where the kernel does not say.
    pub fn read() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).ok();
        parse(&read("/proc/meminfo")?, &read("/proc/sys/fs/file-nr")?, &read("/proc/stat")?)
    }
}

fn parse(meminfo: &str, files: &str, stat: &str) -> Option<Host> {
    let bytes = |wanted: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'))?;
        Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? << 10)
    };
    let others = ["MemFree", "Buffers", "Cached", "SwapCached", "AnonPages"];
    let others: u64 = others.into_iter().map(bytes).sum::<Option<u64>>()?;
    // Whoever reads many files on the host makes this grow, and it is nobody's loss.
    let others = others.saturating_add(bytes("SReclaimable").unwrap_or_default());
    let fixed = ["SUnreclaim", "Percpu", "VmallocUsed", "PageTables"];
    let mut files = files.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
    // user, nice, system, idle, iowait, irq, softirq
    let times: Vec<u64> =
        stat.lines().next()?.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let ticks: u64 =
        [2, 5, 6].into_iter().map(|field: usize| times.get(field).copied()).sum::<Option<u64>>()?;
    Some(Host {
        kernel_bytes: bytes("MemTotal")?.saturating_sub(others),
        fixed_bytes: fixed.into_iter().filter_map(bytes).sum(),
        n_files: files.next()??,
        max_files: files.nth(1)??,
        system_usec: ticks.saturating_mul(1_000_000 / rustix::param::clock_ticks_per_second().max(1)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal: 1000 kB\nMemFree: 500 kB\nMemAvailable: 600 kB\nBuffers: 10 kB\nCached: 90 kB\n\
                           SwapCached: 0 kB\nAnonPages: 100 kB\nSUnreclaim: 40 kB\nVmallocUsed: 8 kB\nPageTables: 2 kB\n";

    #[test]
    fn the_kernels_own_is_what_nobody_else_has() {
        let host = parse(MEMINFO, "960\t0\t2466183\n", "cpu  1 2 30 4 5 6 7 0 0 0\ncpu0 1 1\n").unwrap();
        assert_eq!((host.kernel_bytes, host.fixed_bytes), (300 << 10, 50 << 10));
        let cached = format!("{MEMINFO}SReclaimable: 100 kB\n");
        let host_of = |meminfo: &str| parse(meminfo, "960\t0\t2466183\n", "cpu  1 2 30 4 5 6 7").unwrap();
        assert_eq!(host_of(&cached).kernel_bytes, 200 << 10, "what is taken back on demand is not counted");
        assert_eq!((host.n_files, host.max_files), (960, 2_466_183));
        let tick = 1_000_000 / rustix::param::clock_ticks_per_second();
        assert_eq!(host.system_usec, 43 * tick);
    }

    #[test]
    fn a_kernel_that_does_not_say_is_not_judged() {
        assert_eq!(parse("MemTotal: 1000 kB\n", "1 0 2", "cpu 1 2 3 4 5 6 7"), None);
        assert_eq!(parse(MEMINFO, "", "cpu 1 2 3 4 5 6 7"), None);
        assert_eq!(parse(MEMINFO, "1 0 2", ""), None);
    }

    #[test]
    fn this_host_is_read() {
        let host = Host::read().unwrap();
        assert!(
            host.kernel_bytes > host.fixed_bytes / 2 && host.n_files > 0 && host.max_files > host.n_files
        );
    }
}
