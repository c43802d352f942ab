//! Sandboxes that may use their disks only so fast.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use sandscope_cgroup::{CgroupOptions, Cgroups, DeviceRates};
use sandscope_engine::Engine as _;
use sandscope_engine_namespaces::linux::{NamespacesEngine, check_host};
use sandscope_model::{BuildId, SandboxId};
use support::{Host, Random, User, eventually, run};

const RATES: DeviceRates = DeviceRates { read: Some(8 << 20), written: Some(8 << 20) };

fn can_limit() -> bool {
    let options = CgroupOptions { limits_device_rates: true, ..CgroupOptions::default() };
    check_host(&options).inspect_err(|problems| eprintln!("SKIPPED, no limits here: {problems:?}")).is_ok()
}

/// The device behind a sandbox's disk, as `major:minor`.
fn device(state: &Path, id: &SandboxId) -> String {
    let record = std::fs::read(state.join("sandboxes").join(id.as_str()).join("sandbox.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    format!("7:{}", record["made"]["loop_device"])
}

/// Whether a limit stands where it would outlive the sandbox; none does with version 2 of control groups.
fn is_limited(state: &Path, device: &str) -> bool {
    let cgroups = Cgroups::probe(&support::cgroup_options(state)).unwrap();
    cgroups.devices_with_rates().unwrap().iter().any(|limited| limited == device)
}

fn outlives_sandboxes() -> bool {
    std::fs::exists("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device").unwrap()
}

/// How long it took. It cannot be quicker than the limit allows, however fast the machine is.
async fn timed(runtime: &NamespacesEngine, id: &SandboxId, script: &str) -> Duration {
    let began = Instant::now();
    let ran = run(runtime, id, User::User, script).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    began.elapsed()
}

#[tokio::test]
async fn reads_and_writes_go_at_the_pace_that_is_set_until_the_end() {
    if !can_limit() {
        return;
    }
    let Some(host) = Host::start_with(|options| options.disk_rates = RATES).await else { return };
    let (id, state) = (host.create().await, host.state.dir.path().to_owned());
    let device = device(&state, &id);
    assert_eq!(is_limited(&state, &device), outlives_sandboxes());
    // 16 MiB at 8 a second; the first tenth may come at once.
    let written =
        timed(&host.runtime, &id, "dd if=/dev/urandom of=a bs=1M count=16 conv=fsync status=none").await;
    assert!(written > Duration::from_millis(1500), "written in {written:?}");
    let read = timed(&host.runtime, &id, "dd if=a of=/dev/null bs=1M iflag=direct status=none").await;
    assert!(read > Duration::from_millis(1500), "read in {read:?}");
    // A snapshot is not made at that pace, and the pace is the same afterwards.
    host.runtime.capture(&id, BuildId::generate(&Random)).await.unwrap();
    assert_eq!(is_limited(&state, &device), outlives_sandboxes());
    let read = timed(&host.runtime, &id, "dd if=a of=/dev/null bs=1M iflag=direct status=none").await;
    assert!(read > Duration::from_millis(1500), "read in {read:?} after a capture");
    host.runtime.kill(&id).await.unwrap();
    assert!(!is_limited(&state, &device), "the next user of the device has its limit");
    host.runtime.shutdown().await;
}

#[tokio::test]
async fn a_later_server_without_limits_takes_them_away() {
    if !can_limit() || !outlives_sandboxes() {
        return;
    }
    let Some(host) = Host::start_with(|options| options.disk_rates = RATES).await else { return };
    let (id, other, state) = (host.create().await, host.create().await, host.state.dir.path().to_owned());
    let [device, others] = [&id, &other].map(|id| device(&state, id));
    host.runtime.shutdown().await;
    drop(host.runtime);
    // One dies while nobody looks.
    let dead = support::set_of(&state, &other);
    dead.kill_all().unwrap();
    let backing = format!("/sys/dev/block/{others}/loop/backing_file");
    eventually("the disk is let go", async || !Path::new(&backing).exists()).await;
    // What follows sandboxes to their end is still there in this process, as it is not after a `kill -9`.
    eventually("its limits are taken away", async || !is_limited(&state, &others)).await;
    dead.set_device_rates(&others, RATES).unwrap();
    assert!(is_limited(&state, &device) && is_limited(&state, &others));
    let runtime = host.state.runtime().await;
    runtime.recover().await.unwrap();
    assert!(!is_limited(&state, &device), "it lives");
    // Another test may have got the device meanwhile, with limits.
    assert!(!is_limited(&state, &others) || Path::new(&backing).exists(), "nobody has it");
    for id in [&id, &other] {
        runtime.kill(id).await.unwrap();
    }
    runtime.shutdown().await;
}

/// A program that waits for its disk cannot be frozen, and a kill comes after the pause.
#[tokio::test]
async fn who_waits_for_a_slow_disk_can_be_paused_and_killed() {
    if !can_limit() {
        return;
    }
    let slow = DeviceRates { read: None, written: Some(1 << 20) };
    let Some(host) = Host::start_with(|options| options.disk_rates = slow).await else { return };
    let (id, state) = (host.create().await, host.state.dir.path().to_owned());
    // Written back already when it is written over: what frees blocks waits for that.
    let script =
        "dd if=/dev/urandom of=a bs=1M count=1 conv=fsync; dd if=/dev/urandom of=a bs=1M count=40 conv=fsync";
    support::start_detached(&host.runtime, &id, User::User, script).await;
    eventually("all of it is in memory", async || {
        run(&host.runtime, &id, User::User, "stat -c %s a").await.stdout == "41943040\n"
    })
    .await;
    let began = Instant::now();
    host.runtime.pause(&id).await.unwrap();
    // At its own pace it would take 40 seconds.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let device = device(&state, &id);
    assert_eq!(is_limited(&state, &device), outlives_sandboxes(), "it has its limit again");
    host.runtime.resume(&id).await.unwrap();
    host.runtime.kill(&id).await.unwrap();
    assert!(!is_limited(&state, &device));
    host.runtime.shutdown().await;
}
