//! The parts of `/proc` and `/sys` that are files of ours, because the kernel's tell of the whole host.
//!
//! They lie below `proc` and `sys` of the generated tree, where the kernel's own file systems are mounted over them; the
//! launcher shows them at their places. What the host may change while it runs (`sysctl`) is as it was when the tree was
//! made.

use std::path::Path;

use super::entries::Entry;
use crate::groups;

/// An empty file and an empty directory of `proc`, shown in place of what nobody inside is to read.
pub const NOTHING: &str = "nothing";
/// See [`NOTHING`].
pub const NOTHING_DIR: &str = "nothing.d";

/// Files of `/proc/sys` that programs read, and that are the same for everybody. Not among them: what counts the host's
/// files or processes, what follows from the size of its memory, and what only an operator needs.
const SETTINGS: [&str; 53] = [
    "crypto/fips_enabled",
    "fs/aio-max-nr",
    "fs/dir-notify-enable",
    "fs/inotify/max_queued_events",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "fs/lease-break-time",
    "fs/leases-enable",
    "fs/mount-max",
    "fs/nr_open",
    "fs/overflowgid",
    "fs/overflowuid",
    "fs/pipe-max-size",
    "fs/pipe-user-pages-hard",
    "fs/pipe-user-pages-soft",
    "fs/protected_fifos",
    "fs/protected_hardlinks",
    "fs/protected_regular",
    "fs/protected_symlinks",
    "fs/suid_dumpable",
    "kernel/arch",
    "kernel/cap_last_cap",
    "kernel/core_uses_pid",
    "kernel/dmesg_restrict",
    "kernel/io_uring_disabled",
    "kernel/kptr_restrict",
    "kernel/ngroups_max",
    "kernel/numa_balancing",
    "kernel/osrelease",
    "kernel/ostype",
    "kernel/overflowgid",
    "kernel/overflowuid",
    "kernel/perf_event_paranoid",
    "kernel/pid_max",
    "kernel/pty/max",
    "kernel/random/entropy_avail",
    "kernel/random/poolsize",
    "kernel/randomize_va_space",
    "kernel/sched_autogroup_enabled",
    "kernel/sched_rt_period_us",
    "kernel/sched_rt_runtime_us",
    "kernel/seccomp/actions_avail",
    "kernel/unprivileged_bpf_disabled",
    "kernel/version",
    "kernel/yama/ptrace_scope",
    "vm/legacy_va_layout",
    "vm/max_map_count",
    "vm/memfd_noexec",
    "vm/mmap_min_addr",
    "vm/overcommit_memory",
    "vm/overcommit_ratio",
    "vm/swappiness",
    "vm/zone_reclaim_mode",
];
/// Files of `/sys` likewise.
const SYS_FILES: [&str; 5] = [
    "kernel/mm/transparent_hugepage/defrag",
    "kernel/mm/transparent_hugepage/enabled",
    "kernel/mm/transparent_hugepage/hpage_pmd_size",
    "kernel/mm/transparent_hugepage/shmem_enabled",
    "kernel/mm/transparent_hugepage/use_zero_page",
];
/// Directories of `/sys` that programs list, all of them empty but for what the launcher mounts there.
const SYS_DIRS: [&str; 16] = [
    "block",
    "bus",
    "class",
    "class/block",
    "class/net",
    "dev",
    "dev/block",
    "dev/char",
    "devices",
    "devices/system",
    "devices/system/cpu",
    "devices/virtual",
    "devices/virtual/net",
    "fs",
    "fs/cgroup",
    "kernel",
];
/// No setting is longer.
const MAX_SETTING: usize = 4096;

const SWAPS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
/// What `ps` names terminals by.
const TTY_DRIVERS: &str = "/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/ptmx            /dev/ptmx       5       2 system
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
";
/// What tools for memory and disks look for in it.
const VMSTAT: [&str; 8] =
    ["nr_dirty", "nr_writeback", "pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault"];

/// Everything, with what is copied from the host read now.
pub(crate) fn files() -> Vec<Entry> {
    let vmstat: String = VMSTAT.map(|name| format!("{name} 0\n")).concat();
    let own_groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut entries = vec![
        Entry::file(Path::new("proc").join(NOTHING), ""),
        Entry::dir(&format!("proc/{NOTHING_DIR}"), 0o555),
        Entry::dir("proc/sys", 0o555),
        Entry::dir("proc/tty", 0o555),
        Entry::file("proc/tty/drivers", TTY_DRIVERS),
        Entry::file("proc/swaps", SWAPS),
        Entry::file("proc/vmstat", vmstat),
        Entry::file("proc/cgroups", groups::controllers(&own_groups)),
        Entry::file("proc/sys/kernel/core_pattern", "core\n"),
        Entry::file("proc/sys/kernel/random/boot_id", ""),
        Entry::file("proc/sys/fs/file-max", format!("{}\n", i64::MAX)),
        Entry::file("proc/sys/vm/nr_hugepages", "0\n"),
    ];
    // Mount points of what is the sandbox's own.
    entries.extend(SHOWN_SETTINGS.into_iter().map(|at| {
        let path = format!("proc/sys/{at}");
        if Path::new("/").join(&path).is_dir() { Entry::dir(&path, 0o555) } else { Entry::file(path, "") }
    }));
    entries.extend(SYS_DIRS.map(|dir| Entry::dir(&format!("sys/{dir}"), 0o755)));
    let groups_at = |place: groups::Place| Entry::dir(&format!("sys/fs/cgroup/{}", place.at), 0o755);
    entries.extend(groups::places(&own_groups).into_iter().map(groups_at));
    let alias = |(alias, at)| Entry::link(format!("sys/fs/cgroup/{alias}"), at);
    entries.extend(groups::aliases(&own_groups).into_iter().map(alias));
    entries.extend(SETTINGS.iter().filter_map(|file| copy("proc/sys", file)));
    entries.extend(SYS_FILES.iter().filter_map(|file| copy("sys", file)));
    entries
}

/// What of `/proc/sys` is the kernel's own inside as well: it belongs to the sandbox's namespaces, or to nobody.
pub const SHOWN_SETTINGS: [&str; 14] = [
    "net",
    "fs/mqueue",
    "kernel/hostname",
    "kernel/domainname",
    "kernel/random/uuid",
    "kernel/auto_msgmni",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// One that the host does not have, or keeps from its users, is left out.
fn copy(top: &str, file: &str) -> Option<Entry> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = format!("{top}/{file}");
    let from = Path::new("/").join(&path);
    let is_public = std::fs::metadata(&from).is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
    let text = is_public.then(|| std::fs::read(from).ok()).flatten()?;
    (text.len() <= MAX_SETTING).then(|| Entry { mode: 0o444, ..Entry::file(path, text) })
}
