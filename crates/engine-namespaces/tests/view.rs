//! What programs inside see of memory, processors, load and time: the sandbox's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::path::Path;

use sandscope_engine::{Engine as _, FoundState};
use sandscope_engine_namespaces::linux::WarmOptions;
use sandscope_model::{BuildId, Rootfs, SandboxId};
use support::{Host, State, User, counters, run};

const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

/// What a script prints to whoever is an ordinary user inside.
async fn says(host: &Host, id: &SandboxId, script: &str) -> String {
    let ran = host.run(id, User::User, script).await;
    assert_eq!(ran.stderr, "", "{script}");
    ran.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_find_the_limits_of_their_sandbox() {
    let Some(host) = Host::start().await else { return };
    let mut spec = host.spec();
    (spec.vcpu_count, spec.memory_mb) = (1, 300);
    host.runtime.create(&spec).await.unwrap();
    let id = spec.id;
    for (script, wanted) in [
        ("nproc", "1"),
        ("python3 -c 'import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))'", "1 1"),
        ("grep -c ^processor /proc/cpuinfo", "1"),
        ("cat /sys/devices/system/cpu/online /sys/devices/system/cpu/possible", "0\n0"),
        ("grep -c '^cpu[0-9]' /proc/stat", "1"),
        ("free -m | awk '/Mem/ {print $2} /Swap/ {print $2}'", "300\n0"),
        ("tail -n +2 /proc/swaps | wc -l", "0"),
        ("cut -d' ' -f1 /proc/loadavg", "0.00"),
        ("awk '{print $1 < 120}' /proc/uptime", "1"),
        (
            "python3 -c 'import time; print(time.clock_gettime(time.CLOCK_BOOTTIME) < 120, time.monotonic() < 120)'",
            "True True",
        ),
        ("ps -o etimes= -p 1 | awk '{print $1 < 120}'", "1"),
    ] {
        assert_eq!(says(&host, &id, script).await.trim_end(), wanted, "{script}");
    }
    for (program, script, wanted) in [
        ("node", "node -p 'os.cpus().length + \" \" + (os.totalmem() >> 20)'", "1 300"),
        ("node", "node -p 'process.constrainedMemory() >> 20'", "300"),
        ("node", "node -p 'v8.getHeapStatistics().heap_size_limit < 300 << 20'", "true"),
        (
            "java",
            "java -XshowSettings:system -version 2>&1 | grep -E 'Effective CPU Count|Memory Limit' | tr -s ' ' | sort",
            " Effective CPU Count: 1\n Memory Limit: 300.00M",
        ),
    ] {
        if Path::new("/usr/bin").join(program).exists() {
            assert_eq!(says(&host, &id, script).await.trim_end(), wanted, "{script}");
        } else {
            eprintln!("SKIPPED, not on this host: {program}");
        }
    }
    let ran = host
        .run(&id, User::Root, "echo 1 > /proc/meminfo; find /sys/fs/cgroup -name 'memory*max' -writable")
        .await;
    assert!(
        ran.code == 0 && ran.stdout.is_empty() && ran.stderr.contains("Read-only file system"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_follows_the_readings_also_those_of_a_later_server() {
    if !support::can_run() {
        return;
    }
    let state = State::new();
    let id = state.new_id();
    let first = state.runtime().await;
    first.recover().await.unwrap();
    first.create(&support::spec(id.clone())).await.unwrap();
    let free = "awk '/MemFree/ {print $2}' /proc/meminfo";
    let number = |text: String| text.trim().parse::<u64>().unwrap();
    counters(&first, &id).await.unwrap();
    let at_first = number(run(&first, &id, User::User, free).await.stdout);
    assert!((90 << 10..128 << 10).contains(&at_first), "{at_first}");
    let hold =
        "exec python3 -c 'x = b\"x\" * (40 << 20)\nopen(\"/tmp/held\", \"w\").close()\nwhile True: pass'";
    support::start(&first, &id, User::User, hold).await;
    support::eventually("memory is taken", async || {
        run(&first, &id, User::User, "ls /tmp/held").await.code == 0
    })
    .await;
    counters(&first, &id).await.unwrap();
    let then = number(run(&first, &id, User::User, free).await.stdout);
    assert!(then + (38 << 10) < at_first, "{at_first} {then}");

    first.shutdown().await;
    drop(first);
    let second = state.runtime().await;
    assert!(matches!(second.recover().await.unwrap()[0].state, FoundState::Running));
    let busy = "awk '/^cpu / {print $2}' /proc/stat";
    counters(&second, &id).await.unwrap();
    let before = number(run(&second, &id, User::User, busy).await.stdout);
    support::eventually("time in use is seen", async || {
        counters(&second, &id).await.unwrap();
        number(run(&second, &id, User::User, busy).await.stdout) > before
    })
    .await;
    let sums = "awk '/^cpu/ {print $2 + $5}' /proc/stat | uniq | wc -l";
    assert_eq!(
        run(&second, &id, User::User, sums).await.stdout,
        "1\n",
        "one processor has all the time there is"
    );
    let freed = "pkill python3; while pgrep python3 > /dev/null; do :; done";
    run(&second, &id, User::User, freed).await;
    counters(&second, &id).await.unwrap();
    assert!(number(run(&second, &id, User::User, free).await.stdout) > then + (35 << 10));
    second.kill(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_made_ahead_says_what_its_taker_asked_for() {
    let warm = WarmOptions { n: 1, memory_mb: 128, disk_mb: 64 };
    let Some(host) = Host::start_with(|options| options.warm = Some(warm)).await else { return };
    let id = host.create().await;
    let script = "nproc; grep -c ^processor /proc/cpuinfo; awk '/MemTotal/ {print $2}' /proc/meminfo; wc -l < /proc/loadavg";
    assert_eq!(says(&host, &id, script).await, "1\n1\n131072\n1\n");
    let mut two = host.spec();
    two.vcpu_count = 2;
    host.runtime.create(&two).await.unwrap();
    let n = std::thread::available_parallelism().unwrap().get().min(2);
    let script = "nproc; grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat";
    assert_eq!(says(&host, &two.id, script).await, format!("{n}\n{n}\n{n}\n"));
    for id in [&id, &two.id] {
        host.runtime.kill(id).await.unwrap();
    }
    host.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_start_from_files_is_a_boot_of_its_own() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let first = says(&host, &id, BOOT_ID).await;
    assert_eq!(says(&host, &id, BOOT_ID).await, first, "it stays");
    let is_uuid = first.trim_end().split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    assert!(is_uuid && first.ends_with('\n'), "{first}");
    host.runtime.pause(&id).await.unwrap();
    host.runtime.resume(&id).await.unwrap();
    assert_eq!(says(&host, &id, BOOT_ID).await, first, "a pause is no boot");
    let mut spec = host.spec();
    let build = BuildId::generate(&support::Random);
    host.runtime.capture(&id, build).await.unwrap();
    spec.rootfs = Rootfs::Snapshot(build);
    host.runtime.create(&spec).await.unwrap();
    let second = says(&host, &spec.id, BOOT_ID).await;
    let hosts = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(first != second && first != hosts && second != hosts, "{first} {second}");
}
