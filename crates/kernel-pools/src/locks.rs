//! Locks of files, from `/proc/locks`: by the process that took them or, where the kernel names none, by the file system
//! of the file, which is the sandbox's own.
//!
//! Reading all of millions of locks would hold up everybody who locks. A part is read, and where there are more, the
//! kernel's count of its structures says how many. The list leaves out those of processes that have ended (others may
//! still hold the file), so that count is only shared among owners who have many of those that were read.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;

/// What the kernel takes for a lock, in bytes.
const LOCK_BYTES: u64 = 192;
/// What is read of the list: about 38,000 locks.
const MAX_BYTES: u64 = 2 << 20;
/// Who has less than one such part of what was read is not thought to have more.
const LARGE_SHARE: u64 = 16;

/// Whose locks are whose.
pub(crate) struct Owners {
    /// By process.
    pub(crate) pids: HashMap<i32, usize>,
    /// By file system, `major:minor` in hexadecimal.
    pub(crate) devices: HashMap<String, usize>,
}

/// Bytes of each of `n` owners.
pub(crate) fn bytes(owners: &Owners, n: usize) -> Vec<u64> {
    if n == 0 {
        return Vec::new();
    }
    let mut list = Vec::new();
    let read = File::open("/proc/locks").and_then(|file| file.take(MAX_BYTES).read_to_end(&mut list));
    if read.is_err() {
        return vec![0; n];
    }
    let is_cut = u64::try_from(list.len()).is_ok_and(|read| read >= MAX_BYTES);
    let slabs = is_cut.then(|| std::fs::read_to_string("/proc/slabinfo").ok()).flatten();
    let in_all = slabs.and_then(|slabs| count(&slabs));
    share(&String::from_utf8_lossy(&list), in_all, owners, n)
}

/// Locks of the whole host; none where the kernel keeps them among others.
fn count(slabs: &str) -> Option<u64> {
    let line = slabs.lines().find_map(|line| line.strip_prefix("file_lock_cache "))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Counts what was read; `in_all`, if there are more, is shared out in the same way.
fn share(list: &str, in_all: Option<u64>, owners: &Owners, n: usize) -> Vec<u64> {
    let (mut counts, mut n_read) = (vec![0_u64; n], 0_u64);
    for line in list.lines() {
        n_read += 1;
        if let Some(count) = owner(line, owners).and_then(|owner| counts.get_mut(owner)) {
            *count += 1;
        }
    }
    let in_all = in_all.unwrap_or_default().max(n_read);
    let scaled = |count: u64| {
        if count < n_read / LARGE_SHARE {
            return count.saturating_mul(LOCK_BYTES);
        }
        let all = u128::from(count) * u128::from(in_all) / u128::from(n_read.max(1));
        u64::try_from(all).unwrap_or(u64::MAX).saturating_mul(LOCK_BYTES)
    };
    counts.into_iter().map(scaled).collect()
}

/// `1: POSIX ADVISORY WRITE 4711 08:01:1234 0 EOF`, with `->` after the number for one that waits.
fn owner(line: &str, owners: &Owners) -> Option<usize> {
    let mut fields = line.split_ascii_whitespace().skip(1).skip_while(|field| *field == "->").skip(3);
    let pid: i32 = fields.next()?.parse().ok()?;
    let file = fields.next()?;
    owners.pids.get(&pid).or_else(|| owners.devices.get(file.rsplit_once(':')?.0)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "1: POSIX  ADVISORY  WRITE 77 00:2a:5 0 EOF\n2: OFDLCK ADVISORY  READ  -1 00:2b:9 0 0\n\
                        2: -> FLOCK  ADVISORY  WRITE 78 00:2a:5 0 EOF\n3: LEASE  ACTIVE    READ  1 08:01:7 0 EOF\n";

    fn owners() -> Owners {
        Owners { pids: HashMap::from([(77, 0), (78, 0)]), devices: HashMap::from([("00:2b".to_owned(), 1)]) }
    }

    #[test]
    fn locks_belong_to_a_process_or_to_a_file_system() {
        assert_eq!(share(LIST, None, &owners(), 2), [2 * LOCK_BYTES, LOCK_BYTES]);
        assert_eq!(share("", Some(9), &owners(), 2), [0, 0]);
        assert_eq!(share("1: cut\n->\n\n9: POSIX ADVISORY WRITE x 00:2b", None, &owners(), 2), [0, 0]);
    }

    #[test]
    fn what_was_not_read_is_like_what_was() {
        assert_eq!(share(LIST, Some(4_000), &owners(), 2), [2_000 * LOCK_BYTES, 1_000 * LOCK_BYTES]);
        let others = "9: POSIX ADVISORY READ 5 08:01:5 0 EOF\n".repeat(60);
        assert_eq!(
            share(&(LIST.to_owned() + &others), Some(1 << 30), &owners(), 2),
            [2 * LOCK_BYTES, LOCK_BYTES]
        );
        let slabs =
            "slabinfo - version: 2.1\nfile_lock_ctx 1 2 3\nfile_lock_cache     42     63    192   21    1\n";
        assert_eq!(count(slabs), Some(42));
        assert_eq!(count("kmalloc-192 1 2 3\n"), None);
    }
}
