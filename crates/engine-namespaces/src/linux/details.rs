//! Everything the kernel says about one sandbox, read when somebody asks.
//!
//! Nothing here enters a namespace: the network's counters are those that `/proc` shows of the first process, through
//! a directory held open since it was made, which a later process of the same number cannot take over. Disk traffic is
//! that of the sandbox's own loop device; devices are used again, so what they counted before is taken off.

use std::os::fd::{AsFd as _, BorrowedFd};

use sandscope_engine::EngineError;
use sandscope_kernel_pools::{open_files, read_in};
use sandscope_model::{CpuDetails, Details, DiskDetails, DiskTraffic, Interface, LinkTraffic, Pressures};

use super::baseline::{Baseline, device_counters};
use super::sandbox::Sandbox;
use super::step::step;

/// Processes whose open files are counted; with more the number is not reported.
const MAX_COUNTED: usize = 1024;
/// Interfaces reported at most.
const MAX_INTERFACES: usize = 16;
impl Sandbox {
    pub(crate) fn details(&self) -> Result<Details, EngineError> {
        let live = self.live().ok_or(EngineError::NotFound)?;
        let read = self.cgroup.details();
        let disk = disk(live.disk.as_fd()).map_err(step("read the disk's size"))?;
        let interfaces = read_in(live.proc_dir.as_fd(), "net/dev").map(|text| interfaces(&text));
        let traffic = device_counters(live.loop_device).map(|now| traffic(now, self.baseline.disk));
        let pids = self.cgroup.processes(MAX_COUNTED + 1).ok().filter(|pids| pids.len() <= MAX_COUNTED);
        let n_open_files = pids.and_then(open_files);
        // A number may have passed to another until here; while the first process lives it has not.
        if live.has_ended() {
            return Err(EngineError::NotFound);
        }
        Ok(Details {
            cpu: cpu(read.cpu, &self.baseline),
            memory: read.memory,
            pressures: read.pressures,
            disk,
            disk_traffic: traffic,
            interfaces,
            n_pids: read.n_pids,
            max_pids: read.max_pids,
            n_open_files,
        })
    }

    pub(crate) fn pressures(&self) -> Pressures {
        self.cgroup.pressures()
    }
}

fn traffic(now: [u64; 4], before: [u64; 4]) -> DiskTraffic {
    let [n_reads, n_writes, read_bytes, written_bytes] =
        [0, 1, 2, 3].map(|index: usize| now[index].saturating_sub(before[index]));
    DiskTraffic { read_bytes, written_bytes, n_reads, n_writes }
}

/// The table of `/proc/<pid>/net/dev`: two lines of head, then `name: eight received, eight sent`.
fn interfaces(table: &str) -> Vec<Interface> {
    let line = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> =
            counters.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
        let direction = |first: usize| {
            let n_dropped = *counters.get(first + 3)?;
            Some(LinkTraffic {
                n_bytes: *counters.get(first)?,
                n_packets: *counters.get(first + 1)?,
                n_dropped,
            })
        };
        Some(Interface { name: name.trim().to_owned(), received: direction(0)?, sent: direction(8)? })
    };
    table.lines().skip(2).filter_map(line).take(MAX_INTERFACES).collect()
}

fn disk(mount: BorrowedFd<'_>) -> std::io::Result<DiskDetails> {
    let stat = rustix::fs::fstatvfs(mount)?;
    let (total_bytes, available_bytes) = super::disk::space(mount)?;
    Ok(DiskDetails { total_bytes, available_bytes, n_inodes: stat.f_files, n_inodes_free: stat.f_favail })
}

fn cpu(read: CpuDetails, baseline: &Baseline) -> CpuDetails {
    let since = |now: Option<u64>, before: u64| now.map(|now| now.saturating_sub(before));
    CpuDetails {
        usage_usec: since(read.usage_usec, baseline.cpu_usage_usec),
        user_usec: since(read.user_usec, baseline.cpu_user_usec),
        system_usec: since(read.system_usec, baseline.cpu_system_usec),
        n_periods: since(read.n_periods, baseline.n_periods),
        n_throttled: since(read.n_throttled, baseline.n_throttled),
        throttled_usec: since(read.throttled_usec, baseline.throttled_usec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_counted_from_when_it_was_given_out() {
        let now = [2_992, 3_908, 23_936 * 512, 53_864 * 512];
        let since = traffic(now, [2_000, 3_900, 20_000 * 512, 53_000 * 512]);
        assert_eq!((since.n_reads, since.n_writes), (992, 8));
        assert_eq!((since.read_bytes, since.written_bytes), (3_936 * 512, 864 * 512));
        assert_eq!(traffic([1; 4], [2; 4]), DiskTraffic::default(), "a device that starts over");
    }

    #[test]
    fn interfaces_are_read_whatever_they_are_called() {
        let table = "Inter-|   Receive                            |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop\n    \
                     lo: 100 2 0 1 0 0 0 0 300 4 0 5 0 0 0 0\nveth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nbad: 1 2\n";
        let found = interfaces(table);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, "lo");
        assert_eq!(found[0].received, LinkTraffic { n_bytes: 100, n_packets: 2, n_dropped: 1 });
        assert_eq!(found[0].sent, LinkTraffic { n_bytes: 300, n_packets: 4, n_dropped: 5 });
        assert_eq!((found[1].name.as_str(), found[1].sent.n_bytes), ("veth0", 9));
    }
}
