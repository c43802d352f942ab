//! What had been counted before a sandbox was somebody's: control groups start at nothing, devices are used again.

use sandscope_cgroup::CgroupSet;
use serde::{Deserialize, Serialize};

/// Block layers count in sectors of this many bytes, whatever the device's own.
const SECTOR_BYTES: u64 = 512;

/// What had been counted before the sandbox was somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Baseline {
    pub(super) cpu_usage_usec: u64,
    pub(super) cpu_user_usec: u64,
    pub(super) cpu_system_usec: u64,
    pub(super) n_periods: u64,
    pub(super) n_throttled: u64,
    pub(super) throttled_usec: u64,
    pub(super) disk: [u64; 4],
}

impl Baseline {
    /// What has been counted until now. `None` counts as nothing: what is absent now is so later.
    pub(crate) fn take(set: &CgroupSet, loop_device: u32) -> Self {
        let cpu = set.details().cpu;
        Self {
            cpu_usage_usec: cpu.usage_usec.unwrap_or(0),
            cpu_user_usec: cpu.user_usec.unwrap_or(0),
            cpu_system_usec: cpu.system_usec.unwrap_or(0),
            n_periods: cpu.n_periods.unwrap_or(0),
            n_throttled: cpu.n_throttled.unwrap_or(0),
            throttled_usec: cpu.throttled_usec.unwrap_or(0),
            disk: device_counters(loop_device).unwrap_or_default(),
        }
    }
}

/// Reads, writes, bytes read, bytes written, of a loop device since the host made it.
pub(super) fn device_counters(number: u32) -> Option<[u64; 4]> {
    parse_device(&std::fs::read_to_string(format!("/sys/block/loop{number}/stat")).ok()?)
}

pub(super) fn parse_device(stat: &str) -> Option<[u64; 4]> {
    let fields: Vec<u64> = stat.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    let bytes = |index: usize| fields.get(index).map(|sectors| sectors.saturating_mul(SECTOR_BYTES));
    Some([*fields.first()?, *fields.get(4)?, bytes(2)?, bytes(6)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_counts_in_sectors_whatever_its_own() {
        let stat =
            "    2992        0    23936     1363     3908     2195    53864     6690        0     5372";
        let now = parse_device(stat).unwrap();
        assert_eq!(now, [2_992, 3_908, 23_936 * 512, 53_864 * 512]);
        assert_eq!(parse_device("1 2 3"), None);
    }
}
