//! What the runtime promises, on real sandboxes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sandscope_engine::{
    Dial as _, DialFailure, Engine as _, EngineError, FoundState, ReadError, Readings as _,
};
use sandscope_model::{BuildId, Cause, Exit, ExitStatus, Rootfs, SandboxId};

use support::{
    CGROUP_PARENT, Host, Random, State, User, can_run, counters, ended, eventually, init_pid, kill_process,
    loops_of, run,
};

const KILLED: ExitStatus = ExitStatus::Signal(9);

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_runs_commands_and_leaves_nothing_when_killed() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let ran = host.run(&id, User::User, "id -un; pwd; echo $((6*7)); exit 3").await;
    assert_eq!((ran.stdout.as_str(), ran.code), ("user\n/home/user\n42\n", 3), "{ran:?}");
    assert_eq!(host.runtime.running(), std::slice::from_ref(&id));
    host.runtime.create(&support::spec(id.clone())).await.unwrap();
    assert!(matches!(host.runtime.dial(&id, 9).await, Err(DialFailure::PortClosed)));
    let loops = loops_of(host.state.dir.path());
    assert_eq!(loops.len(), 1, "{loops:?}");

    let exit = host.runtime.kill(&id).await.unwrap().unwrap();
    assert_eq!((exit.status, exit.cause, exit.n_oom_kills), (Some(KILLED), None, Some(0)));
    assert!(exit.peak_memory_bytes.is_some_and(|bytes| bytes > 0), "{exit:?}");
    assert!(exit.cpu_time_usec.is_some_and(|usec| usec > 0), "{exit:?}");
    assert_eq!(host.runtime.kill(&id).await.unwrap(), None, "a second kill finds nothing");
    assert!(matches!(counters(&host.runtime, &id).await, Err(ReadError::NotFound)));
    assert!(matches!(host.runtime.dial(&id, 9).await, Err(DialFailure::NotRunning)));
    host.runtime.shutdown().await;
    assert_nothing_left(host.state.dir.path(), &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sandbox_stands_still_and_goes_on_with_its_memory() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "nohup bash -c 'i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.01; done' >/dev/null 2>&1 & echo";
    host.run(&id, User::User, script).await;
    host.runtime.pause(&id).await.unwrap();
    assert_eq!(host.runtime.running(), []);
    assert!(matches!(host.runtime.dial(&id, 49983).await, Err(DialFailure::NotRunning)));
    let before = counters(&host.runtime, &id).await.unwrap();
    // There is nothing to wait for: a process that ran on would use this time.
    // sleep: time that a process which ran on would use
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(
        counters(&host.runtime, &id).await.unwrap().cpu_usage_usec,
        before.cpu_usage_usec,
        "time passed inside"
    );
    host.runtime.resume(&id).await.unwrap();
    host.runtime.resume(&id).await.unwrap();
    let count =
        async || host.run(&id, User::User, "cat /tmp/count").await.stdout.trim().parse::<u64>().unwrap_or(0);
    let resumed_at = count().await;
    eventually("the count goes on", async || count().await > resumed_at).await;

    host.runtime.pause(&id).await.unwrap();
    let exit = host.runtime.kill(&id).await.unwrap();
    assert_eq!(exit.and_then(|exit| exit.status), Some(KILLED), "a paused sandbox can be killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_starts_new_sandboxes_and_the_first_runs_on() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    host.run(&id, User::User, "echo kept > /home/user/file; sync").await;
    host.run(
        &id,
        User::Root,
        "echo '#!/bin/sh' > /usr/local/bin/tool; chmod 755 /usr/local/bin/tool; rm /etc/magic",
    )
    .await;
    let build = BuildId::generate(&Random);
    let bytes = host.runtime.capture(&id, build).await.unwrap();
    assert!((64 << 10..64 << 20).contains(&bytes), "{bytes}");
    host.run(&id, User::User, "echo changed > /home/user/file").await;

    for _ in 0..2 {
        let mut spec = host.spec();
        spec.rootfs = Rootfs::Snapshot(build);
        host.runtime.create(&spec).await.unwrap();
        let ran =
            host.run(&spec.id, User::User, "cat ~/file; tool && ls /etc/magic; stat -c %U ~/file").await;
        assert_eq!(ran.stdout, "kept\nuser\n", "{ran:?}");
    }
    assert_eq!(host.run(&id, User::User, "cat ~/file").await.stdout, "changed\n");
    host.runtime.pause(&id).await.unwrap();
    host.runtime.capture(&id, build).await.unwrap();
    assert_eq!(host.runtime.running().len(), 2, "the paused one stays paused");
    host.runtime.remove_layer(build).await.unwrap();
    host.runtime.remove_layer(build).await.unwrap();
    let mut spec = host.spec();
    spec.rootfs = Rootfs::Snapshot(build);
    assert!(matches!(host.runtime.create(&spec).await, Err(EngineError::SnapshotMissing)));
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_tell_what_is_used() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let before = counters(&host.runtime, &id).await.unwrap();
    host.run(&id, User::User, "dd if=/dev/urandom of=/home/user/data bs=1M count=16 2>/dev/null; sync").await;
    let after = counters(&host.runtime, &id).await.unwrap();
    assert!(after.taken_at_usec > before.taken_at_usec && after.cpu_usage_usec > before.cpu_usage_usec);
    assert_eq!(before.disk_total_bytes, after.disk_total_bytes);
    let written = before.disk_available_bytes - after.disk_available_bytes;
    assert!((16 << 20..17 << 20).contains(&written), "{written}");
    let full = host.run(&id, User::User, "dd if=/dev/zero of=/home/user/full bs=1M count=200").await;
    assert!(full.stderr.contains("No space left"), "{full:?}");
    assert!(host.run(&id, User::User, "rm ~/full; echo fine").await.stdout.contains("fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_nobody_asked_for_is_announced_once_and_truly() {
    let Some(host) = Host::start().await else { return };
    let mut notices = host.runtime.take_notices().unwrap();
    assert!(host.runtime.take_notices().is_none());
    let id = host.create().await;
    kill_process(init_pid(host.state.dir.path(), &id));
    let exit = ended(&mut notices, &id).await;
    assert_eq!((exit.status, exit.cause), (Some(KILLED), Some(Cause::AgentSignalled)));
    assert_eq!(host.runtime.running(), []);
    assert_eq!(host.runtime.kill(&id).await.unwrap(), Some(Exit { cause: None, ..exit }));
    host.runtime.shutdown().await;
    assert_nothing_left(host.state.dir.path(), &id).await;
    assert!(notices.try_recv().is_err(), "reported twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_create_leaves_nothing() {
    let Some(host) = Host::start().await else { return };
    let spec = host.spec();
    // The disk cannot be mounted.
    let image = host.state.dir.path().join("base/disk-64.ext4");
    std::fs::write(&image, vec![0; 1 << 20]).unwrap();
    let failure = host.runtime.create(&spec).await.unwrap_err();
    assert!(format!("{failure:?}").contains("mount the disk"), "{failure:?}");
    assert_eq!(host.runtime.running(), []);
    assert_nothing_left(host.state.dir.path(), &spec.id).await;
    std::fs::remove_file(image).unwrap();
    host.runtime.create(&spec).await.unwrap();
    host.runtime.kill(&spec.id).await.unwrap();
    host.runtime.shutdown().await;
    drop(host.runtime);

    // The agent has no time to answer.
    let mut options = support::options(host.state.dir.path());
    options.agent_limit = std::time::Duration::ZERO;
    let runtime =
        sandscope_engine_namespaces::linux::NamespacesEngine::start(options, support::tasks()).await.unwrap();
    assert!(matches!(runtime.create(&spec).await, Err(EngineError::AgentUnresponsive)));
    assert_nothing_left(host.state.dir.path(), &spec.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_launcher_is_replaced_and_sandboxes_live_on() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let first = host.runtime.launcher_pid().await.unwrap();
    kill_process(first.try_into().unwrap());
    eventually("the launcher is missed", async || host.runtime.launcher_pid().await.is_none()).await;
    assert_eq!(host.run(&id, User::User, "echo alive").await.stdout, "alive\n");
    assert_ne!(host.runtime.launcher_pid().await, Some(first));
    host.create().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_never_share_a_state_directory() {
    let Some(host) = Host::start().await else { return };
    let second = sandscope_engine_namespaces::linux::NamespacesEngine::start(
        support::options(host.state.dir.path()),
        support::tasks(),
    )
    .await;
    assert!(second.unwrap_err().to_string().contains("state directory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_outlive_a_killed_server_and_are_found_as_they_are() {
    if !can_run() {
        return;
    }
    let state = State::new();
    let ids: Vec<SandboxId> = (0..3).map(|_| state.new_id()).collect();
    let [running, paused, dead] = ids.as_slice() else { unreachable!() };
    let mut server = Server::start(state.dir.path(), &ids);
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    // Nobody is looking now.
    kill_process(init_pid(state.dir.path(), dead));
    support::set_of(state.dir.path(), paused).freeze().unwrap();
    let half_made = state.new_id();
    std::fs::create_dir(state.dir.path().join("sandboxes").join(half_made.as_str())).unwrap();
    let record = state.dir.path().join("sandboxes").join(dead.as_str()).join("exit.json");
    eventually("the exit is recorded", async || record.exists()).await;

    let runtime = state.runtime().await;
    let mut found = runtime.recover().await.unwrap();
    found.sort_by_key(|found| ids.iter().position(|id| *id == found.id));
    let found: Vec<(SandboxId, FoundState)> =
        found.into_iter().map(|found| (found.id, found.state)).collect();
    let [(_, FoundState::Running), (_, FoundState::Paused), (_, FoundState::Dead(exit))] = found.as_slice()
    else {
        panic!("{found:?}")
    };
    assert_eq!((exit.status, exit.cause), (Some(KILLED), Some(Cause::AgentSignalled)));
    assert_eq!(runtime.running(), std::slice::from_ref(running));
    assert_eq!(run(&runtime, running, User::User, "echo here").await.stdout, "here\n");
    assert!(counters(&runtime, running).await.unwrap().disk_total_bytes > 0);
    runtime.resume(paused).await.unwrap();
    assert_eq!(run(&runtime, paused, User::User, "echo awake").await.stdout, "awake\n");
    let build = BuildId::generate(&Random);
    runtime.capture(paused, build).await.unwrap();
    assert_eq!(runtime.kill(dead).await.unwrap().unwrap().status, Some(KILLED));
    runtime.kill(running).await.unwrap();
    runtime.kill(paused).await.unwrap();
    runtime.shutdown().await;
    for id in ids.iter().chain([&half_made]) {
        assert_nothing_left(state.dir.path(), id).await;
    }
}

/// A server in a process of its own.
struct Server(Child);

impl Server {
    fn start(state_dir: &Path, ids: &[SandboxId]) -> Self {
        let mut server = Command::new(support::launcher())
            .arg("make")
            .arg(state_dir)
            .arg(CGROUP_PARENT)
            .arg(support::owner(state_dir))
            .args(ids.iter().map(SandboxId::as_str))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_dead = self.0.kill();
        let _already_collected = self.0.wait();
    }
}

async fn assert_nothing_left(dir: &Path, id: &SandboxId) {
    let cgroups = sandscope_cgroup::Cgroups::probe(&support::cgroup_options(dir)).unwrap();
    assert!(!cgroups.list_own().unwrap().iter().any(|name| name == id.as_str()), "control groups are left");
    assert!(!dir.join("sandboxes").join(id.as_str()).exists(), "files are left");
    assert_eq!(std::fs::read_dir(dir.join("trash")).unwrap().count(), 0, "trash is left");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "mounts are left");
    // The kernel lets go of a loop device a moment after its last user is gone.
    eventually("its loop device is free", async || support::n_spare_loops(dir) == 0).await;
}
