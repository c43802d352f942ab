//! What each sandbox holds of the kernel's memory that nobody is charged for.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use super::judge::Seen;
use super::locks::{self, Owners};
use super::sockets;
use crate::linux::details::{open_files, read_in};
use crate::linux::sandbox::Sandbox;

/// What an open file takes beside what is charged, in bytes: between nothing and 256.
const FILE_BYTES: u64 = 128;
/// Processes and threads a sandbox may have, at most.
const MAX_PROCESSES: usize = 4096;

/// Looks at the sandboxes that live, each a few dozen reads.
pub(super) fn read(sandboxes: &[Arc<Sandbox>]) -> Vec<Seen> {
    let mut owners = Owners { pids: HashMap::new(), devices: HashMap::new() };
    // File systems that several sandboxes see are the host's.
    let mut shared = Vec::new();
    let mut seen = Vec::new();
    for sandbox in sandboxes {
        let Some(live) = sandbox.live() else { continue };
        let at = seen.len();
        let pids = sandbox.cgroup.processes(MAX_PROCESSES).unwrap_or_default();
        owners.pids.extend(pids.iter().map(|pid| (*pid, at)));
        for device in devices(live.proc_dir.as_fd()) {
            if owners.devices.insert(device.clone(), at).is_some_and(|other| other != at) {
                shared.push(device);
            }
        }
        let n_files = open_files(pids).unwrap_or_default();
        let kernel = sandbox.cgroup.kernel();
        seen.push(Seen {
            id: sandbox.id.clone(),
            lock_bytes: 0,
            socket_bytes: sockets::bytes(live.proc_dir.as_fd()),
            file_bytes: n_files.saturating_mul(FILE_BYTES),
            n_files,
            charged_bytes: kernel.memory_bytes,
            system_usec: kernel.system_usec,
        });
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
