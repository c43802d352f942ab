//! Bounds of what stays inside when those who took it have ended: files in memory, and System V objects.
//!
//! When memory runs out the kernel ends programs and the agent last. What stays frees nothing by that, so together it is
//! less than the sandbox may have. `docs/security/kernel-pools.md` has the sum.

use std::fs;
use std::io;
use std::path::Path;

/// Of a file system in memory, for one file, directory, link or attribute of up to a KiB: these take up to 2 KiB beside
/// their pages.
const BYTES_PER_INODE: u64 = 8192;
/// For what programs keep in `/run` and `/dev`, where memory is small.
const FEWEST_INODES: u64 = 512;
/// `/run` is for small files.
const LARGEST_RUN: u64 = 64 << 20;
/// Of a queue: what the kernel has unless it is changed.
const QUEUE_BYTES: u64 = 16_384;
/// What a queue takes at most. The bytes of messages are counted, and each message may have none or one, and takes 64.
const QUEUE_MEMORY: u64 = 64 * QUEUE_BYTES;
/// Of one semaphore, with the process that changed it last, which is remembered.
const SEMAPHORE_MEMORY: u64 = 256;
const MOST_SEMAPHORES: u64 = 32_000;
/// Semaphores of a set, operations of a call, and sets.
const SEMAPHORE_SETS: (u64, u64, u64) = (250, 500, 1024);

/// The bounds of a sandbox of some size.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    memory_bytes: u64,
}

impl Bounds {
    /// Those of one with this much memory, in MiB.
    pub const fn of(memory_mb: u32) -> Self {
        Self { memory_bytes: (memory_mb as u64) << 20 }
    }

    /// Mount options of `/dev/shm`. Of a page that lies far from the others in its file, the way there takes as much again.
    pub fn dev_shm(self) -> String {
        in_memory(1777, self.memory_bytes / 8 * 3)
    }

    /// Mount options of `/run`.
    pub fn run(self) -> String {
        in_memory(755, (self.memory_bytes / 16).min(LARGEST_RUN))
    }

    /// Sets the bounds of this process's IPC namespace.
    ///
    /// # Errors
    ///
    /// If the kernel has such a setting and does not take it.
    pub fn set_ipc(self) -> io::Result<()> {
        for (name, value) in self.ipc() {
            match fs::write(Path::new("/proc/sys/kernel").join(name), value) {
                // A kernel without System V objects.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                set => {
                    set.map_err(|error| io::Error::new(error.kind(), format!("kernel.{name}: {error}")))?;
                }
            }
        }
        Ok(())
    }

    fn ipc(self) -> [(&'static str, String); 6] {
        let shared = self.memory_bytes / 2;
        let queues = (self.memory_bytes / 16 / QUEUE_MEMORY).clamp(4, 32_000);
        let semaphores = (self.memory_bytes / 64 / SEMAPHORE_MEMORY).clamp(1024, MOST_SEMAPHORES);
        let (of_a_set, of_a_call, sets) = SEMAPHORE_SETS;
        [
            // Half of the memory is too much to stay: it goes with the last process that has it, or with its maker.
            ("shm_rmid_forced", "1".to_owned()),
            ("shmmax", shared.to_string()),
            ("shmall", (shared / rustix::param::page_size() as u64).to_string()),
            ("msgmnb", QUEUE_BYTES.to_string()),
            ("msgmni", queues.to_string()),
            ("sem", format!("{of_a_set} {semaphores} {of_a_call} {sets}")),
        ]
    }
}

fn in_memory(mode: u32, bytes: u64) -> String {
    let bytes = bytes.max(1 << 20);
    let inodes = (bytes / BYTES_PER_INODE).max(FEWEST_INODES);
    format!("mode={mode},size={bytes},nr_inodes={inodes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_follow_the_memory() {
        let bounds = Bounds::of(512);
        assert_eq!(bounds.dev_shm(), "mode=1777,size=201326592,nr_inodes=24576");
        assert_eq!(bounds.run(), "mode=755,size=33554432,nr_inodes=4096");
        let set = bounds.ipc().map(|(name, value)| format!("{name} {value}"));
        let shared = ["shmmax 268435456", "shmall 65536"];
        assert_eq!(set[1..3], shared);
        assert_eq!(set[3..], ["msgmnb 16384", "msgmni 32", "sem 250 32000 500 1024"]);
        assert_eq!(Bounds::of(1 << 20).run(), "mode=755,size=67108864,nr_inodes=8192");
        assert_eq!(Bounds::of(1).run(), "mode=755,size=1048576,nr_inodes=512");
    }
}
