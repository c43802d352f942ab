//! What only stored samples hold: read every few seconds, so that reading a thousand sandboxes every second stays cheap.
//!
//! Everything here adds up over the sandbox's life or is a level, so nothing is lost by reading it seldom. Totals begin
//! at the sandbox's creation: what was counted before it was somebody's is taken off.

use std::os::fd::AsFd as _;

use sandscope_engine::EngineError;
use sandscope_model::{MetricField as F, Values};

use super::baseline::device_counters;
use super::details::read_in;
use super::sandbox::Sandbox;

/// Processes whose open files are counted: a few microseconds each.
const MAX_COUNTED: usize = 32;

impl Sandbox {
    pub(crate) fn more_counters(&self) -> Result<Values, EngineError> {
        let live = self.live().ok_or(EngineError::NotFound)?;
        let ms = |usec: u64| usec / 1_000;
        let waits = self.cgroup.waits();
        let mut values = Values::NONE;
        for (some, full, stalled) in [
            (F::CpuStalled, F::CpuStalledFull, waits.cpu),
            (F::MemStalled, F::MemStalledFull, waits.memory),
            (F::IoStalled, F::IoStalledFull, waits.io),
        ] {
            values.set(some, stalled.map(|stalled| ms(stalled.some_usec)));
            values.set(full, stalled.and_then(|stalled| stalled.full_usec).map(ms));
        }
        let throttled = waits.throttled_usec.map(|now| ms(now.saturating_sub(self.baseline.throttled_usec)));
        values.set(F::CpuThrottled, throttled);
        if let Some(now) = device_counters(live.loop_device) {
            let fields = [F::DiskReads, F::DiskWrites, F::DiskRead, F::DiskWritten];
            for (field, (now, before)) in fields.into_iter().zip(now.into_iter().zip(self.baseline.disk)) {
                values.set(field, now.saturating_sub(before));
            }
        }
        if let Some(traffic) = read_in(live.proc_dir.as_fd(), "net/dev").map(|table| traffic(&table)) {
            let fields = [F::NetReceived, F::NetReceivedPackets, F::NetSent, F::NetSentPackets];
            fields.into_iter().zip(traffic).for_each(|(field, now)| values.set(field, now));
        }
        values.set(F::OpenFiles, self.open_files(MAX_COUNTED));
        // What a number stands for may have changed hands until here; while the first process lives it has not.
        if live.has_ended() {
            return Err(EngineError::NotFound);
        }
        Ok(values)
    }
}

/// Bytes and packets received, bytes and packets sent, of all interfaces in `/proc/<pid>/net/dev` but the loopback.
fn traffic(table: &str) -> [u64; 4] {
    let mut sums = [0_u64; 4];
    for line in table.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let mut counters = counters.split_ascii_whitespace().map_while(|field| field.parse::<u64>().ok());
        let (received, sent) = ([counters.next(), counters.next()], [counters.nth(6), counters.next()]);
        for (sum, counter) in sums.iter_mut().zip(received.into_iter().chain(sent)) {
            *sum = sum.saturating_add(counter.unwrap_or(0));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_what_leaves_and_enters_the_sandbox() {
        let table = "Inter-|   Receive                            |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop\n    \
                     lo: 100 2 0 1 0 0 0 0 300 4 0 5 0 0 0 0\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nbad: 1\n \
                     eth1: 10 20 0 0 0 0 0 0 30 40 0 0 0 0 0 0\n";
        assert_eq!(traffic(table), [12, 22, 39, 50]);
        assert_eq!(traffic(""), [0; 4]);
    }
}
