//! What only stored samples hold: read every few seconds, so that reading a thousand sandboxes every second stays
//! cheap.
//!
//! Everything here adds up over the sandbox's life or is a level, so nothing is lost by reading it seldom. Totals begin
//! at the sandbox's creation: what was counted before it was somebody's is taken off.

use std::os::fd::AsFd as _;

use sandscope_engine::EngineError;
use sandscope_kernel_pools::open_files;
use sandscope_model::{MetricField as F, Values};

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
        if let Some(now) = live.traffic.disk(live.loop_device) {
            let fields = [F::DiskReads, F::DiskWrites, F::DiskRead, F::DiskWritten];
            for (field, (now, before)) in fields.into_iter().zip(now.into_iter().zip(self.baseline.disk)) {
                values.set(field, now.saturating_sub(before));
            }
        }
        if let Some(traffic) = live.traffic.network(live.proc_dir.as_fd()) {
            let fields = [F::NetReceived, F::NetReceivedPackets, F::NetSent, F::NetSentPackets];
            fields.into_iter().zip(traffic).for_each(|(field, now)| values.set(field, now));
        }
        values.set(F::OpenFiles, self.cgroup.few_processes(MAX_COUNTED).and_then(open_files));
        // A number may have passed to another until here; while the first process lives it has not.
        if live.has_ended() {
            return Err(EngineError::NotFound);
        }
        Ok(values)
    }
}
