//! On this host's own kernel, with whatever hierarchies it has mounted. Needs root; says so loudly where it cannot run.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a test may panic and must say what it skips")]

#[macro_use]
mod support;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use sandscope_cgroup::{CgroupError, Limits};
use support::{Host, LIMITS, SOON, eventually, spawn, wait_joined};

fn a_set_is_made_found_again_and_removed(host: &Host) {
    let cgroups = host.cgroups();
    assert!(cgroups.open_set("a").expect("asked").is_none());
    let set = cgroups.create("a").expect("made");
    assert!(matches!(
        cgroups.create("a"),
        Err(CgroupError::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists
    ));
    assert!(set.is_empty().expect("read"));
    assert_eq!(cgroups.list().expect("listed"), ["a"]);
    set.set_limits(&LIMITS).expect("set");
    set.set_limits(&Limits { memory_bytes: 128 << 20, ..LIMITS }).expect("raised");
    set.set_limits(&LIMITS).expect("lowered");
    let dirs: Vec<PathBuf> = set.dirs().map(PathBuf::from).collect();
    for dir in &dirs {
        // Version 1 counts what waits in sockets apart.
        if let Ok(limit) = std::fs::read_to_string(dir.join("memory.kmem.tcp.limit_in_bytes")) {
            assert_eq!(limit.trim(), (LIMITS.memory_bytes / 4).to_string());
        }
    }
    drop(set);
    let found = cgroups.open_dirs("a", &dirs).expect("asked").expect("still there");
    assert_eq!(found.name(), "a");
    assert_eq!(found.dirs().collect::<Vec<_>>(), dirs);
    found.remove(SOON).expect("removed");
    assert!(cgroups.list().expect("listed").is_empty());
    assert!(cgroups.open_dirs("a", &dirs).expect("asked").is_none());
}

fn what_a_crash_left_of_a_set_can_be_removed(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    let (first, n) = (set.dirs().next().expect("one").to_owned(), set.dirs().count());
    drop(set);
    std::fs::remove_dir(first).expect("removed");
    let set = host.cgroups().open_set("a").expect("asked");
    if n == 1 {
        // Version 2 alone: there was nothing else.
        assert!(set.is_none());
        return;
    }
    let set = set.expect("half is enough");
    set.kill_all().expect("nothing to kill");
    set.remove(SOON).expect("removed");
    assert!(host.cgroups().list().expect("listed").is_empty());
}

fn names_that_are_not_one_plain_component_are_refused(host: &Host) {
    for name in ["", ".", "..", "a/b", ".a", "a b", &"a".repeat(129)] {
        assert!(matches!(host.cgroups().create(name), Err(CgroupError::InvalidName(_))), "{name:?}");
    }
}

fn frozen_processes_use_no_cpu_and_go_on_afterwards(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&LIMITS).expect("set");
    let mut child = spawn(&set, "while :; do :; done");
    wait_joined(&mut child);
    let usage = || set.readings().expect("read").cpu_usage_usec;
    let before = usage();
    eventually("it runs", || usage() > before);
    assert!(!set.is_frozen().expect("read"));

    set.freeze().expect("frozen");
    assert!(set.is_frozen().expect("read"));
    set.freeze().expect("asking again is fine");
    let frozen_at = usage();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(30) {
        assert_eq!(usage(), frozen_at);
    }

    set.thaw().expect("thawed");
    assert!(!set.is_frozen().expect("read"));
    eventually("it runs on", || usage() > frozen_at);
    set.kill_all().expect("killed");
    child.wait().expect("ended");
}

fn kill_reaches_every_process_even_frozen_ones(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    let mut child = spawn(&set, "sleep 1000 & sleep 1000 & wait");
    wait_joined(&mut child);
    eventually("all are there", || set.readings().expect("read").n_pids == 3);
    assert!(!set.is_empty().expect("read"));
    set.freeze().expect("frozen");
    set.kill_all().expect("killed");
    let status = child.wait().expect("ended");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    set.wait_empty(SOON).expect("all ended");
    set.kill_all().expect("nothing left is fine");
    set.remove(SOON).expect("removed");
}

fn memory_beyond_the_limit_is_an_oom_kill_that_is_counted(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&Limits { memory_bytes: 24 << 20, ..LIMITS }).expect("set");
    assert_eq!(set.n_oom_kills().expect("read"), 0);
    // `tail` keeps a line that never ends in memory.
    let mut child = spawn(&set, "exec tail /dev/zero");
    let status = child.wait().expect("ended");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(set.n_oom_kills().expect("read"), 1);
    assert_eq!(set.readings().expect("read").n_oom_kills, 1);
}

fn the_kernel_says_when_memory_runs_out(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&Limits { memory_bytes: 24 << 20, ..LIMITS }).expect("set");
    let watch = set.watch_oom().expect("watched");
    let wanted = if watch.is_urgent() { PollFlags::PRI } else { PollFlags::IN };
    let is_ready = || {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut look = [PollFd::new(&watch, wanted)];
        rustix::event::poll(&mut look, Some(&now)).expect("polled") == 1
    };
    watch.clear();
    assert!(!is_ready());
    spawn(&set, "exec tail /dev/zero").wait().expect("ended");
    eventually("it is said", is_ready);
    watch.clear();
    assert!(!is_ready(), "until the next time");
}

fn what_was_used_is_known_until_the_set_is_removed(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&LIMITS).expect("set");
    spawn(&set, "head -c 8388608 /dev/zero | tail -c 8388608 > /dev/null").wait().expect("ended");
    let totals = set.totals();
    assert_eq!(totals.n_oom_kills, Some(0));
    assert!(totals.cpu_usage_usec.is_some_and(|usec| usec > 0), "{totals:?}");
    assert!(totals.peak_memory_bytes.is_some_and(|bytes| bytes > 4 << 20), "{totals:?}");
    assert!(!set.is_removed());
    let dirs: Vec<_> = set.dirs().map(std::path::Path::to_owned).collect();
    eventually("it can be removed", || {
        dirs.iter().all(|dir| !dir.exists() || std::fs::remove_dir(dir).is_ok())
    });
    assert!(set.is_removed());
    assert_eq!(
        set.totals(),
        sandscope_cgroup::Totals::default(),
        "nothing is known, which is not nothing used"
    );
}

fn memory_and_page_cache_are_told_apart(host: &Host) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("data");
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&LIMITS).expect("set");
    let shared = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    // Read again and again, it counts as used lately.
    let script = format!(
        "head -c 16777216 /dev/zero > {0}; cat {0} {0} {0} > /dev/null; head -c 8388608 /dev/zero > {1}; echo; exec cat",
        file.display(),
        shared.path().display()
    );
    let mut child = spawn(&set, &script);
    wait_joined(&mut child);
    let mut written = [0_u8; 1];
    child.stdout.as_mut().expect("piped").read_exact(&mut written).expect("written");
    let readings = set.readings().expect("read");
    assert!(readings.memory_file_bytes >= 15 << 20, "{readings:?}");
    assert!(readings.memory_current_bytes >= readings.memory_file_bytes, "{readings:?}");
    // What can be taken back is not used, a file in memory is.
    assert!(readings.memory_reclaimable_bytes >= 15 << 20, "{readings:?}");
    let used = readings.memory_current_bytes - readings.memory_reclaimable_bytes;
    assert!((8 << 20..16 << 20).contains(&used), "{used} of {readings:?}");
    drop(child.stdin.take());
    child.wait().expect("ended");
}

fn forks_beyond_the_limit_fail(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&Limits { pids_max: 4, ..LIMITS }).expect("set");
    let mut child = spawn(&set, "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait");
    let status = child.wait().expect("ended");
    assert!(!status.success(), "the shell stopped forking");
    assert_eq!(set.readings().expect("read").n_pids, 3, "those that it could start");
    set.kill_all().expect("killed");
    set.wait_empty(SOON).expect("ended");
}

fn only_harmless_devices_open(host: &Host) {
    if !host.cgroups().limits_devices() {
        println!("SKIPPED only_harmless_devices_open: no version 1 devices hierarchy");
        return;
    }
    let set = host.cgroups().create("a").expect("made");
    let mut harmless = spawn(&set, "head -c 1 /dev/zero; head -c 1 /dev/urandom; echo > /dev/null");
    assert!(harmless.wait().expect("ended").success());
    let mut kernel_log = spawn(&set, "exec dd if=/dev/kmsg of=/dev/null count=1 iflag=nonblock");
    assert!(!kernel_log.wait().expect("ended").success());
}

fn a_fork_bomb_is_killed_whole(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&Limits { pids_max: 64, ..LIMITS }).expect("set");
    let mut child = spawn(&set, "bomb() { bomb & bomb & wait; }; bomb");
    wait_joined(&mut child);
    eventually("it has grown", || set.readings().expect("read").n_pids >= 32);
    set.kill_all().expect("killed");
    child.wait().expect("ended");
    set.wait_empty(SOON).expect("all ended");
    set.remove(SOON).expect("removed");
}

fn cpu_time_is_bounded_by_the_quota(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&LIMITS).expect("set");
    let mut children: Vec<Child> = (0..3).map(|_| spawn(&set, "while :; do :; done")).collect();
    children.iter_mut().for_each(wait_joined);
    let (start, before) = (Instant::now(), set.readings().expect("read").cpu_usage_usec);
    eventually("400 ms of CPU time", || set.readings().expect("read").cpu_usage_usec - before >= 400_000);
    // One period's worth may be handed out at each end.
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    set.kill_all().expect("killed");
    for mut child in children {
        child.wait().expect("ended");
    }
}

fn details_agree_with_the_readings(host: &Host) {
    let set = host.cgroups().create("a").expect("made");
    set.set_limits(&LIMITS).expect("set");
    let mut child = spawn(&set, "while :; do :; done");
    wait_joined(&mut child);
    eventually("it runs", || set.details().cpu.user_usec.is_some_and(|usec| usec >= 20_000));
    let (before, details, after) =
        (set.readings().expect("read"), set.details(), set.readings().expect("read"));
    let usage = details.cpu.usage_usec.expect("every version counts CPU time");
    assert!((before.cpu_usage_usec..=after.cpu_usage_usec).contains(&usage));
    let parts = details.cpu.user_usec.expect("counted") + details.cpu.system_usec.expect("counted");
    assert!(parts <= after.cpu_usage_usec + 20_000, "{details:?}");
    assert_eq!(details.memory.n_oom_kills, Some(0));
    assert!(details.memory.peak_bytes >= details.memory.anon_bytes && details.memory.anon_bytes.is_some());
    assert_eq!(details.max_pids, Some(u64::from(LIMITS.pids_max)));
    assert_eq!(set.processes(10).expect("listed"), [i32::try_from(child.id()).expect("small")]);
    // Where version 2 is mounted and the kernel counts stalls, all three are there.
    let counts = set.unified_dir().is_some() && std::path::Path::new("/proc/pressure/cpu").exists();
    let stalls = details.pressures;
    for pressure in [stalls.cpu, stalls.memory, stalls.io] {
        assert_eq!(pressure.is_some(), counts);
    }
    set.kill_all().expect("killed");
    child.wait().expect("ended");
}

on_both_kinds! {
    a_set_is_made_found_again_and_removed,
    what_a_crash_left_of_a_set_can_be_removed,
    names_that_are_not_one_plain_component_are_refused,
    frozen_processes_use_no_cpu_and_go_on_afterwards,
    kill_reaches_every_process_even_frozen_ones,
    memory_beyond_the_limit_is_an_oom_kill_that_is_counted,
    the_kernel_says_when_memory_runs_out,
    what_was_used_is_known_until_the_set_is_removed,
    memory_and_page_cache_are_told_apart,
    forks_beyond_the_limit_fail,
    only_harmless_devices_open,
    a_fork_bomb_is_killed_whole,
    cpu_time_is_bounded_by_the_quota,
    details_agree_with_the_readings,
}
