//! Ranges of user ids: each sandbox's root and users are ids of the host that nobody else has.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::linux::protocol::{Failure, InStep as _};

/// Ids in a range: as many as programs expect.
pub(super) const RANGE_LEN: u32 = 65_536;
/// Above what distributions hand out to people and what `systemd-nspawn` takes, below the sign bit.
const FIRST_ID: u32 = 0x7000_0000;
const N_RANGES: u32 = 4096;
/// Claims are host-wide: servers with other data directories draw from the same ranges.
const CLAIMS: &str = "/run/sandscope/ids";

/// A range that is ours for as long as this lives.
#[derive(Debug)]
pub(super) struct IdRange {
    pub(super) base: u32,
    lock: File,
}

impl IdRange {
    /// The claim itself: held as long as any duplicate of this is open.
    pub(super) const fn lock(&self) -> &File {
        &self.lock
    }

    /// Claims a free range, looking first where `id` hashes to, so that shims seldom compete.
    pub(super) fn claim(id: &str) -> Result<Self, Failure> {
        let dir = Path::new(CLAIMS);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .step("make the directory of id claims")?;
        let taken = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        let start = id.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        for offset in 0..N_RANGES {
            let index = start.wrapping_add(offset) % N_RANGES;
            let base = FIRST_ID + index * RANGE_LEN;
            if overlaps(&taken, base) {
                continue;
            }
            let lock = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(dir.join(index.to_string()))
                .step("open an id claim")?;
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { base, lock }),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error).step("claim a range of ids"),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOSPC)).step("find a free range of user ids")
    }
}

/// Whether a line `name:first:count` of `/etc/subuid` gives ids of the range at `base` to somebody.
fn overlaps(subuid: &str, base: u32) -> bool {
    subuid.lines().any(|line| {
        let mut fields = line.split(':').skip(1).map(|field| field.trim().parse::<u64>());
        match (fields.next(), fields.next()) {
            (Some(Ok(first)), Some(Ok(count))) => {
                first < u64::from(base) + u64::from(RANGE_LEN)
                    && u64::from(base) < first.saturating_add(count)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_given_to_people_are_left_alone() {
        let subuid = "alice:1879113728:65536\nbob:100000:65536\nbroken\n";
        assert!(!overlaps(subuid, FIRST_ID));
        assert!(overlaps(subuid, FIRST_ID + RANGE_LEN));
        assert!(!overlaps(subuid, FIRST_ID + 2 * RANGE_LEN));
    }
}
