//! Counters of a sandbox's disk and network. The files are opened with the first reading and kept where descriptors are
//! plenty: they stay those of the same device and the same namespace.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use sandscope_cgroup::has_spare_descriptors;

use super::baseline::parse_device;

/// More than either file holds.
const BUFFER_BYTES: usize = 8 * 1024;

/// The files, as far as they are kept.
#[derive(Debug, Default)]
pub(crate) struct TrafficFiles {
    disk: OnceLock<File>,
    network: OnceLock<File>,
}

impl TrafficFiles {
    /// Reads, writes, bytes read, bytes written, of the loop device since the host made it.
    pub(super) fn disk(&self, loop_device: u32) -> Option<[u64; 4]> {
        let open = || File::open(format!("/sys/block/loop{loop_device}/stat")).ok();
        with(&self.disk, has_spare_descriptors(), open, |file| read(file, parse_device))
    }

    /// Bytes and packets received, bytes and packets sent, of all interfaces but the loopback, of the network that the
    /// process of `proc_dir` is in.
    pub(super) fn network(&self, proc_dir: BorrowedFd<'_>) -> Option<[u64; 4]> {
        let open = || {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::openat(proc_dir, "net/dev", flags, Mode::empty()).ok().map(File::from)
        };
        with(&self.network, has_spare_descriptors(), open, |file| {
            read(file, |table| Some(parse_table(table)))
        })
    }
}

/// What `read` makes of the file. One that cannot be opened now may be the next time.
fn with<T>(
    kept: &OnceLock<File>,
    keep: bool,
    open: impl FnOnce() -> Option<File>,
    read: impl FnOnce(&File) -> Option<T>,
) -> Option<T> {
    if let Some(file) = kept.get() {
        return read(file);
    }
    let file = open()?;
    if keep { read(kept.get_or_init(|| file)) } else { read(&file) }
}

fn read<T>(file: &File, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut buffer = [0_u8; BUFFER_BYTES];
    let n = file.read_at(&mut buffer, 0).ok()?;
    parse(std::str::from_utf8(buffer.get(..n)?).ok()?)
}

/// Bytes and packets received, bytes and packets sent, of all interfaces in `/proc/<pid>/net/dev` but the loopback.
fn parse_table(table: &str) -> [u64; 4] {
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
    fn a_file_is_opened_once_where_it_is_kept_and_again_where_it_could_not_be_opened() {
        let opened = |kept: &OnceLock<File>, keep, file: Option<&str>| {
            let mut n = 0;
            let open = || {
                n += 1;
                File::open(file?).ok()
            };
            let was_read = with(kept, keep, open, |_| Some(())).is_some();
            (was_read, n)
        };
        let kept = OnceLock::new();
        assert_eq!(opened(&kept, true, None), (false, 1));
        assert_eq!(opened(&kept, false, Some("/dev/null")), (true, 1));
        assert_eq!(opened(&kept, true, Some("/dev/null")), (true, 1), "was not kept before");
        assert_eq!(opened(&kept, true, None), (true, 0));
    }

    #[test]
    fn traffic_is_what_leaves_and_enters_the_sandbox() {
        let table = "Inter-|   Receive                            |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop\n    \
                     lo: 100 2 0 1 0 0 0 0 300 4 0 5 0 0 0 0\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nbad: 1\n \
                     eth1: 10 20 0 0 0 0 0 0 30 40 0 0 0 0 0 0\n";
        assert_eq!(parse_table(table), [12, 22, 39, 50]);
        assert_eq!(parse_table(""), [0; 4]);
    }
}
