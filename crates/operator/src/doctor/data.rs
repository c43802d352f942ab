//! What the server's own place must offer: data directory, address, and what an earlier run left.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sandscope_cgroup::CgroupOptions;
use sandscope_engine_namespaces::linux::{self, Seen};

use super::check::Check;
use crate::fsck::is_served;
use sandscope_config::Config;
use sandscope_data_dir::{DataDir, HomeError, Standing};

const MIB: u64 = 1 << 20;
/// Below this the first sandboxes fill the disk.
const LITTLE_ROOM: u64 = 2048 * MIB;
/// Below this nothing can be recorded for long.
const NO_ROOM: u64 = 64 * MIB;
/// What the kernel calls a file system that is gone after a restart of the host.
const TMPFS_MAGIC: i64 = 0x0102_1994;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let dir = &config.server.data_dir;
    let has_server = is_served(dir).unwrap_or(false);
    let mut checks = vec![permissions(dir), room(dir, config.sandbox.disk_reserve_mb), caps()];
    checks.extend(home(dir));
    checks.extend(kept(dir));
    checks.push(address(config, has_server));
    checks.push(leftovers(dir, has_server));
    checks
}

/// The directory, or the nearest one above that is there.
pub(super) fn nearest(dir: &Path) -> std::path::PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    absolute.ancestors().find(|dir| dir.is_dir()).map_or_else(|| "/".into(), Path::to_owned)
}

fn permissions(dir: &Path) -> Check {
    const NAME: &str = "data directory";
    let shown = dir.display();
    let place = nearest(dir);
    let may_write = rustix::fs::access(&place, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    if let Err(error) = may_write {
        let says = format!("{} cannot be written: {error}", place.display());
        return Check::problem(NAME, says, "run as its owner, or name another with --data-dir");
    }
    let Ok(found) = std::fs::metadata(dir) else {
        return Check::fine(NAME, format!("{shown} will be made at the first start"));
    };
    if !found.is_dir() {
        return Check::problem(
            NAME,
            format!("{shown} is no directory"),
            "move it away, or name another with --data-dir",
        );
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own {
        let says = format!("{shown} belongs to user {}, this is user {own}", found.uid());
        return Check::problem(NAME, says, "chown it to the user the server runs as, if all in it is theirs");
    }
    let mode = found.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Check::problem(
            NAME,
            format!("{shown} can be written by others (mode {mode:03o}): a server refuses it"),
            "see that all in it is yours, then chmod 700 it",
        );
    }
    if mode & 0o077 != 0 {
        return Check::warning(
            NAME,
            format!("{shown} is open to others (mode {mode:03o}); it holds keys and sandboxes' disks"),
            "chmod 700 it, or start a server: it does so",
        );
    }
    Check::fine(NAME, format!("{shown} is this user's alone"))
}

/// Whether it is where it was, and may deliver.
fn home(dir: &Path) -> Option<Check> {
    const NAME: &str = "home";
    if !dir.join("facts.sqlite").exists() {
        return None;
    }
    Some(match DataDir::look_at_home(dir) {
        Ok(Standing::AtHome) => Check::fine(NAME, "the data directory is where it was".to_owned()),
        Ok(Standing::Holds) => Check::warning(
            NAME,
            "the data directory was adopted: no webhook is delivered, and nothing is exported".to_owned(),
            "start the server with --deliver, if this one is to deliver",
        ),
        Err(error @ HomeError::Elsewhere { .. }) => {
            Check::problem(NAME, error.to_string(), "see \"Back up, restore, move\" in docs/operating.md")
        }
        Err(error) => Check::problem(NAME, error.to_string(), "run as the user the server runs as"),
    })
}

fn room(dir: &Path, reserve_mb: u32) -> Check {
    const NAME: &str = "disk space";
    let fix = "make room on the disk, or name a directory on a larger one with --data-dir";
    let stat = match rustix::fs::statvfs(nearest(dir)) {
        Ok(stat) => stat,
        Err(error) => return Check::warning(NAME, format!("it cannot be asked for: {error}"), fix),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let size = stat.f_blocks.saturating_mul(stat.f_frsize);
    let reserve = linux::disk_reserve(size, u64::from(reserve_mb) * MIB);
    let kept = format!("{} MiB of {} are the reserve, half of it as a file", reserve / MIB, size / MIB);
    if free < reserve / 2 {
        let says = format!(
            "{} MiB free, which is short: sandboxes may write no more, and none is made ({kept})",
            free / MIB
        );
        Check::problem(NAME, says, fix)
    } else if free < NO_ROOM {
        Check::problem(NAME, format!("{} MiB free: changes will be refused", free / MIB), fix)
    } else if free < LITTLE_ROOM {
        Check::warning(
            NAME,
            format!("{} MiB free; a sandbox's disk grows to 2454 MiB unless set; {kept}", free / MIB),
            fix,
        )
    } else if stat.f_files > 0 && stat.f_favail < 10_000 {
        Check::warning(NAME, format!("only {} more files can be made", stat.f_favail), fix)
    } else {
        Check::fine(NAME, format!("{} MiB free; {kept}", free / MIB))
    }
}

/// Whether the kernel lets itself be told how much a sandbox may still write.
fn caps() -> Check {
    const NAME: &str = "disk shares";
    const DIR: &str = "/sys/fs/ext4";
    match rustix::fs::access(DIR, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Check::fine(NAME, "what each sandbox may write can be limited".to_owned()),
        // The module may not be loaded before the first sandbox.
        Err(rustix::io::Errno::NOENT) => Check::fine(NAME, "no ext4 is mounted yet".to_owned()),
        Err(error) => Check::warning(
            NAME,
            format!("{DIR} cannot be written ({error}): a full disk may cost sandboxes what they wrote last"),
            "in a container, mount sysfs so that it can be written",
        ),
    }
}

/// Whether what is written is still there after a restart of the host.
fn kept(dir: &Path) -> Option<Check> {
    let stat = rustix::fs::statfs(nearest(dir)).ok()?;
    let is_in_memory = stat.f_type == TMPFS_MAGIC;
    is_in_memory.then(|| {
        let says = "the data directory is in memory: everything is gone after a restart of the host";
        Check::warning("durability", says, "name a directory on a disk with --data-dir")
    })
}

fn address(config: &Config, has_server: bool) -> Check {
    const NAME: &str = "address";
    let listen = config.server.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Check::fine(NAME, format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && has_server => {
            Check::fine(NAME, format!("{listen} is in use, and a server runs over the data directory"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Check::problem(
            NAME,
            format!("{listen} is taken by another program"),
            "stop it, or choose another with --listen",
        ),
        Err(error) => Check::problem(
            NAME,
            format!("cannot listen on {listen}: {error}"),
            "choose another with --listen",
        ),
    }
}

fn leftovers(dir: &Path, has_server: bool) -> Check {
    const NAME: &str = "sandboxes";
    let start = "start the server: it takes back what lives, reports what died and removes what is left";
    let seen = match linux::inspect(dir, &CgroupOptions::default()) {
        Ok(seen) => seen,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::fine(NAME, "none has been made here yet");
        }
        Err(error) => {
            return Check::problem(
                NAME,
                format!("the data directory cannot be looked at: {error}"),
                "run as root",
            );
        }
    };
    let is_alive = |seen: &Seen| matches!(seen, Seen::Running | Seen::Paused);
    let n_alive = seen.sandboxes.iter().filter(|(_, seen)| is_alive(seen)).count();
    let broken: Vec<String> = seen
        .sandboxes
        .iter()
        .filter_map(|(id, seen)| match seen {
            Seen::Broken(what) => Some(format!("{id}: {what}")),
            _ => None,
        })
        .collect();
    if !broken.is_empty() {
        return Check::problem(NAME, broken.join("; "), "restart the server: it ends them and reports why");
    }
    if has_server {
        return Check::fine(NAME, format!("{n_alive} alive under the running server"));
    }
    let n_dead = seen.sandboxes.len() - n_alive;
    let n_strays = seen.others.len();
    if n_alive + n_dead + n_strays == 0 {
        return Check::fine(NAME, "none is left from an earlier run");
    }
    let says = format!(
        "no server runs, but {n_alive} sandboxes live, {n_dead} are dead or half made, and {n_strays} mounts, loop \
         devices or files are left"
    );
    Check::warning(NAME, says, start)
}
