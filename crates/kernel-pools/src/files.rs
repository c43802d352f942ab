//! What `/proc` says of processes, read through handles and numbers of their directories.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};

/// More than any file read here holds unless somebody makes it long.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Open files of `pids`. The kernel reports their number as the size of a directory since Linux 6.2; listing each would
/// cost as much as the sandbox likes.
pub fn open_files(pids: Vec<i32>) -> Option<u64> {
    let mut n = 0_u64;
    for pid in pids {
        // One that has ended since holds none.
        if let Ok(entry) = std::fs::metadata(format!("/proc/{pid}/fd")) {
            n = n.saturating_add(entry.len());
        }
    }
    // The first process always has some: an old kernel says nothing.
    (n > 0).then_some(n)
}

/// The text of a file below a process's directory, the first MiB; none where it cannot be read.
pub fn read_in(dir: BorrowedFd<'_>, name: &str) -> Option<String> {
    let fd = rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = Vec::new();
    File::from(fd).take(MAX_FILE_BYTES).read_to_end(&mut text).ok()?;
    // A longer one is cut where it may be cut.
    Some(String::from_utf8_lossy(&text).into_owned())
}
