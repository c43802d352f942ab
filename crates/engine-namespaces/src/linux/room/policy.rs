//! How much of the host's disk may still be promised. Pure.

/// At most this part of the disk is the reserve, whatever is wished: small disks need room for sandboxes, too.
const LARGEST_PART: u64 = 10;
/// What is given to sandboxes is rounded down to a power of two, and less than this is nothing.
const SMALLEST_GRANT: u64 = 64 << 10;

/// How the host's disk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// More than everybody together could lack: sandboxes write as they like.
    #[default]
    Ample,
    /// Each sandbox may take so much more, and all of them together no more than there is.
    Near,
    /// Nobody may take anything more.
    Short,
}

/// The bounds that follow from the disk's size and the reserve that is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Kept in a file, to be let go when what is in memory has to reach the disk.
    pub(crate) ballast: u64,
    /// Below this, beside the ballast, the disk is short.
    pub(crate) low: u64,
}

impl Bounds {
    pub(crate) fn of(disk_size: u64, wished: u64) -> Self {
        let reserve = wished.min(disk_size / LARGEST_PART);
        Self { ballast: reserve / 2, low: reserve / 2 }
    }

    /// The stage at `free` bytes. `in_memory`: what may be in memory and not on the disk, on the whole host.
    pub(crate) const fn stage(self, before: Stage, free: u64, in_memory: u64) -> Stage {
        let is_short = match before {
            // Room for half as much again, or it would change at every byte.
            Stage::Short => free < self.low + self.low / 2,
            Stage::Ample | Stage::Near => free < self.low,
        };
        if is_short {
            Stage::Short
        } else if free < self.low.saturating_mul(2).saturating_add(in_memory) {
            Stage::Near
        } else {
            Stage::Ample
        }
    }

    /// What all sandboxes together may take more until the next look. Half of the room: somebody else writes as well.
    pub(crate) const fn promise(self, stage: Stage, free: u64) -> u64 {
        match stage {
            Stage::Ample => u64::MAX,
            Stage::Near => free.saturating_sub(self.low) / 2,
            Stage::Short => 0,
        }
    }
}

/// What one sandbox may take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Grants {
    /// One that has taken nothing of late.
    pub(crate) quiet: u64,
    /// One that writes.
    pub(crate) busy: u64,
}

impl Grants {
    /// Shares `promise` out: a half equally, the other among those that write.
    pub(crate) fn share(promise: u64, n: u64, n_busy: u64) -> Self {
        let n = n.max(1);
        if n_busy == 0 {
            let quiet = round(promise / n);
            return Self { quiet, busy: quiet };
        }
        let equal = promise / 2 / n;
        Self { quiet: round(equal), busy: round(equal + promise / 2 / n_busy) }
    }
}

fn round(bytes: u64) -> u64 {
    match bytes.checked_ilog2() {
        Some(log) if bytes >= SMALLEST_GRANT => 1 << log,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
