//! One sandbox's disk, as whoever shares out the host's looks at it.
//!
//! The kernel keeps for each ext4 a number of blocks back that nobody gets, not even root. Raised to all that is free,
//! it makes the file system full for whoever writes: `write` answers "no space", and what is in memory already keeps
//! the blocks it was promised.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use crate::linux::disk::{self, kernels_own};
use crate::linux::handles::Handles;
use crate::linux::sandbox::Sandbox;
use crate::linux::sys;

/// A living sandbox's disk.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) sandbox: Arc<Sandbox>,
    live: Arc<Handles>,
}

/// Where it stood when it was looked at: whoever has written since shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// Free bytes inside, but for those promised to what is in memory.
    pub(crate) free: u64,
    /// Bytes it has in use inside, what its own bookkeeping takes included.
    pub(crate) used: u64,
    /// Bytes that its image takes on the host.
    pub(crate) backed: u64,
}

impl Marks {
    /// Bytes it gave up inside that the host has not got back, at the least.
    pub(crate) const fn garbage(self) -> u64 {
        self.backed.saturating_sub(self.used)
    }
}

impl Guest {
    /// None if its processes have ended.
    pub(crate) fn of(sandbox: &Arc<Sandbox>) -> Option<Self> {
        Some(Self { live: sandbox.live()?, sandbox: Arc::clone(sandbox) })
    }

    fn image(&self) -> PathBuf {
        self.sandbox.dir.join(disk::IMAGE_FILE)
    }

    pub(crate) fn marks(&self) -> io::Result<Marks> {
        let stat = rustix::fs::fstatvfs(self.disk())?;
        let image = std::fs::metadata(self.image())?;
        let free = stat.f_bfree.saturating_mul(stat.f_frsize);
        let backed = std::os::unix::fs::MetadataExt::blocks(&image).saturating_mul(512);
        Ok(Marks { free, used: image.len().saturating_sub(free), backed })
    }

    /// Bytes in memory that have blocks inside only when they are written out.
    pub(crate) fn in_memory(&self) -> io::Result<u64> {
        let blocks = std::fs::read_to_string(self.attribute("delayed_allocation_blocks"))?;
        let blocks: u64 = blocks.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(blocks.saturating_mul(rustix::fs::fstatvfs(self.disk())?.f_frsize))
    }

    /// Lets it take `grant` bytes more, and from then on what it gives up itself.
    pub(crate) fn cap(&self, grant: u64) -> io::Result<()> {
        let stat = rustix::fs::fstatvfs(self.disk())?;
        let granted = grant / stat.f_frsize.max(1);
        self.keep_back(stat.f_bfree.saturating_sub(granted).max(kernels_own(stat.f_blocks)), stat.f_blocks)
    }

    /// Lets it take everything it has.
    pub(crate) fn uncap(&self) -> io::Result<()> {
        let blocks = rustix::fs::fstatvfs(self.disk())?.f_blocks;
        self.keep_back(kernels_own(blocks), blocks)
    }

    fn keep_back(&self, blocks: u64, of: u64) -> io::Result<()> {
        // The kernel takes no number that is not below the file system's.
        std::fs::write(self.attribute("reserved_clusters"), blocks.min(of.saturating_sub(1)).to_string())
    }

    fn attribute(&self, name: &str) -> PathBuf {
        Path::new("/sys/fs/ext4").join(format!("loop{}", self.live.loop_device)).join(name)
    }

    /// Writes out what is in memory. Fails if anything was lost on the way.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sys::sync_filesystem(self.disk())
    }

    /// Gives what is free inside back to the host.
    pub(crate) fn trim(&self) -> io::Result<u64> {
        disk::trim(self.disk())
    }

    /// What is in use inside and has no room on the host: preallocated and never written, mostly.
    pub(crate) fn unbacked(&self) -> io::Result<Unbacked> {
        let image = File::options().read(true).write(true).open(self.image())?;
        let len = image.metadata()?.len();
        let free = sys::free_ranges(self.disk())?;
        let backed = sys::backed_ranges(&image)?;
        Ok(Unbacked { ranges: neither(&free, &backed, len), image })
    }

    fn disk(&self) -> BorrowedFd<'_> {
        self.live.disk.as_fd()
    }
}

/// Stretches of an image that need room on the host.
#[derive(Debug)]
pub(crate) struct Unbacked {
    ranges: Vec<Range<u64>>,
    image: File,
}

impl Unbacked {
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Takes the room for all of it.
    pub(crate) fn back(&self) -> io::Result<()> {
        for range in &self.ranges {
            let length = range.end - range.start;
            rustix::fs::fallocate(&self.image, FallocateFlags::KEEP_SIZE, range.start, length)?;
        }
        Ok(())
    }
}

/// What of `0..len` is in none of the stretches, either list in order.
fn neither(a: &[Range<u64>], b: &[Range<u64>], len: u64) -> Vec<Range<u64>> {
    let mut all: Vec<_> = a.iter().chain(b).cloned().collect();
    all.sort_unstable_by_key(|range| range.start);
    let mut left = Vec::new();
    let mut at = 0;
    for range in all {
        if range.start.min(len) > at {
            left.push(at..range.start.min(len));
        }
        at = at.max(range.end);
    }
    if at < len {
        left.push(at..len);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_neither_covers_is_left() {
        let of = |pairs: &[(u64, u64)]| pairs.iter().map(|(from, to)| *from..*to).collect::<Vec<_>>();
        let left = |a: &[(u64, u64)], b: &[(u64, u64)]| neither(&of(a), &of(b), 9);
        assert_eq!(left(&[], &[]), of(&[(0, 9)]));
        assert_eq!(left(&[(0, 3)], &[(2, 5), (7, 9)]), of(&[(5, 7)]));
        assert_eq!(left(&[(4, 6)], &[(0, 1), (4, 5)]), of(&[(1, 4), (6, 9)]));
        assert_eq!(left(&[(0, 20)], &[]), []);
        assert_eq!(left(&[(2, 3)], &[(12, 20)]), of(&[(0, 2), (3, 9)]));
    }
}
