//! What each sandbox holds of the kernel's memory that nobody is charged for.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use sandscope_model::SandboxId;

use crate::locks::{self, Owners};
use crate::{Seen, open_files, read_in, sockets};

/// What an open file takes beside what is charged, in bytes: between nothing and 256.
const FILE_BYTES: u64 = 128;

/// A sandbox that is looked at.
#[derive(Debug)]
pub struct Holder<'a> {
    /// The sandbox.
    pub id: SandboxId,
    /// Its processes, by the host's numbers.
    pub pids: Vec<i32>,
    /// The directory of its first process in `/proc`.
    pub proc_dir: BorrowedFd<'a>,
    /// The kernel's memory that it is charged for, in bytes.
    pub charged_bytes: u64,
    /// CPU time that its processes spent in the kernel, in microseconds.
    pub system_usec: u64,
}

/// Looks at sandboxes, each a few dozen reads.
pub fn holdings(holders: Vec<Holder<'_>>) -> Vec<Seen> {
    let mut owners = Owners { pids: HashMap::new(), devices: HashMap::new() };
    // File systems that several sandboxes see are the host's.
    let mut shared = Vec::new();
    let mut seen = Vec::new();
    for Holder { id, pids, proc_dir, charged_bytes, system_usec } in holders {
        let at = seen.len();
        owners.pids.extend(pids.iter().map(|pid| (*pid, at)));
        for device in devices(proc_dir) {
            if owners.devices.insert(device.clone(), at).is_some_and(|other| other != at) {
                shared.push(device);
            }
        }
        let n_files = open_files(pids).unwrap_or_default();
        let (socket_bytes, file_bytes) = (sockets::bytes(proc_dir), n_files.saturating_mul(FILE_BYTES));
        seen.push(Seen { id, lock_bytes: 0, socket_bytes, file_bytes, n_files, charged_bytes, system_usec });
    }
    for device in shared {
        owners.devices.remove(&device);
    }
    let locks = locks::bytes(&owners, seen.len());
    seen.iter_mut().zip(locks).for_each(|(seen, bytes)| seen.lock_bytes = bytes);
    seen
}

/// The file systems that a sandbox sees, as `/proc/locks` names them.
fn devices(proc_dir: BorrowedFd<'_>) -> Vec<String> {
    let table = read_in(proc_dir, "mountinfo").unwrap_or_default();
    table.lines().filter_map(device).collect()
}

/// The third field, in decimal.
fn device(line: &str) -> Option<String> {
    let (major, minor) = line.split_ascii_whitespace().nth(2)?.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(format!("{major:02x}:{minor:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_named_as_in_the_list_of_locks() {
        let line = "1093 1092 0:42 / / rw,nosuid - overlay overlay rw,lowerdir=/x";
        assert_eq!(device(line), Some("00:2a".to_owned()));
        assert_eq!(device("36 35 259:300 / /usr ro"), Some("103:12c".to_owned()));
        assert_eq!(device("36 35 none"), None);
    }
}
