//! Ways to die, distinguished; and what is left on the host, found and removed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::io::BufRead as _;
use std::path::Path;

use sandscope_cgroup::Cgroups;
use sandscope_engine::{Ailment, Dial as _, Engine as _, EngineError, FoundState, Notice, Stray};
use sandscope_engine_namespaces::linux::{Seen, inspect};
use sandscope_model::{BuildId, Cause, ExitStatus, SandboxId};
use tokio::io::AsyncWriteExt as _;

use support::{
    Host, PATIENCE, Random, State, User, ended, eventually, init_pid, kill_process, shim_pid, signal_process,
};

const KILLED: Option<ExitStatus> = Some(ExitStatus::Signal(9));
/// Takes all memory with what outlives the processes that filled it: in the end only the first one is left to kill.
/// Needs [`lift_bounds`].
const FILL_MEMORY: &str = "while :; do python3 -c \"import ctypes; l=ctypes.CDLL(None); \
     l.shmat.restype=ctypes.c_void_p; i=l.shmget(0,64<<20,0o1600); p=l.shmat(i,None,0); \
     ctypes.memset(ctypes.c_void_p(p),1,64<<20)\"; done";

/// Lets System V memory stay, as much as there is of it, as no sandbox can for itself.
fn lift_bounds(state_dir: &Path, id: &SandboxId) {
    let pid = init_pid(state_dir, id).to_string();
    let script =
        "cd /proc/sys/kernel; echo 0 > shm_rmid_forced; echo 10000000000 > shmmax; echo 10000000 > shmall";
    let enter = ["--target", &pid, "--user", "--ipc", "--setuid", "0", "--setgid", "0", "sh", "-ec", script];
    assert!(std::process::Command::new("nsenter").args(enter).status().unwrap().success());
}

/// The directories of a sandbox's control groups.
fn group_dirs(state_dir: &Path, id: &SandboxId) -> Vec<std::path::PathBuf> {
    support::set_of(state_dir, id).dirs().map(Path::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_killed_for_lack_of_memory_is_told_and_the_sandbox_lives_on() {
    let Some(host) = Host::start().await else { return };
    let mut notices = host.runtime.take_notices().unwrap();
    let id = host.create().await;
    let ran = host.run(&id, User::User, "tail /dev/zero; echo $?").await;
    assert_eq!(ran.stdout, "137\n", "{ran:?}");
    let notice = tokio::time::timeout(PATIENCE, notices.recv()).await.unwrap().unwrap();
    assert_eq!(notice, Notice::OutOfMemory { id: id.clone(), n_oom_kills: 1 });
    assert_eq!(host.run(&id, User::User, "echo alive").await.stdout, "alive\n");
    // Much later than that kill the first process is ended by somebody.
    // sleep: longer ago than a kill counts as the cause of a death
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    kill_process(init_pid(host.state.dir.path(), &id));
    let exit = ended(&mut notices, &id).await;
    assert_eq!((exit.status, exit.cause, exit.n_oom_kills), (KILLED, Some(Cause::AgentSignalled), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_process_killed_for_lack_of_memory_is_told_as_such() {
    let Some(host) = Host::start().await else { return };
    let mut notices = host.runtime.take_notices().unwrap();
    let id = host.create().await;
    lift_bounds(host.state.dir.path(), &id);
    support::start_detached(&host.runtime, &id, User::User, FILL_MEMORY).await;
    let end = async {
        loop {
            match notices.recv().await.unwrap() {
                Notice::Ended { exit, .. } => return exit,
                Notice::OutOfMemory { .. } => {}
            }
        }
    };
    let exit = tokio::select! {
        exit = tokio::time::timeout(PATIENCE, end) => exit.expect("it runs out of memory"),
        () = press(&host, &id) => unreachable!("it never ends"),
    };
    assert_eq!((exit.status, exit.cause), (KILLED, Some(Cause::OutOfMemory)), "{exit:?}");
    assert!(exit.n_oom_kills.is_some_and(|n| n > 0));
    assert!(exit.peak_memory_bytes.is_some_and(|bytes| bytes > 100 << 20), "{exit:?}");
}

/// Makes the agent itself ask for memory, as it does for heads without an end: where little is left, a shell would take more.
async fn press(host: &Host, id: &SandboxId) {
    let mut held = Vec::new();
    loop {
        if let Ok(mut stream) = host.runtime.dial(id, sandscope_agent_protocol::AGENT_PORT).await {
            let endless = format!("GET /health HTTP/1.1\r\nx: {}", "a".repeat(60_000));
            let _unread = stream.write_all(endless.as_bytes()).await;
            held.push(stream);
        }
        // sleep: the pace of the load
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The kernel takes a while for the end of one with much to free. Here somebody outside holds on to a process of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_told_of_one_whose_end_takes_long() {
    let Some(host) = Host::start().await else { return };
    let mut notices = host.runtime.take_notices().unwrap();
    let id = host.create().await;
    let pid = init_pid(host.state.dir.path(), &id);
    lift_bounds(host.state.dir.path(), &id);
    let hold = format!(
        "import ctypes, os, sys\nns = os.open('/proc/{pid}/ns/pid', os.O_RDONLY)\n\
         assert ctypes.CDLL(None).setns(ns, 0) == 0\n\
         if os.fork() == 0:\n  import time; time.sleep(1000)\n\
         print('holds', flush=True); sys.stdin.read()"
    );
    let mut holder = std::process::Command::new("python3")
        .args(["-c", &hold])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    std::io::BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "holds\n");
    support::start_detached(&host.runtime, &id, User::User, FILL_MEMORY).await;
    let is_ending = eventually("it is ending", async || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        !status.contains("VmSize")
    });
    tokio::select! {
        () = is_ending => {}
        () = press(&host, &id) => unreachable!("it never ends"),
    }
    // sleep: longer than a kill counts as the cause of a death
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    let end = async {
        loop {
            if let Notice::Ended { exit, .. } = notices.recv().await.unwrap() {
                return exit;
            }
        }
    };
    let exit = tokio::time::timeout(PATIENCE, end).await.unwrap();
    assert_eq!((exit.status, exit.cause), (KILLED, Some(Cause::OutOfMemory)), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_takes_its_sandbox_along_and_that_is_told() {
    let Some(host) = Host::start().await else { return };
    let mut notices = host.runtime.take_notices().unwrap();
    let id = host.create().await;
    kill_process(shim_pid(host.state.dir.path(), &id));
    let exit = ended(&mut notices, &id).await;
    assert_eq!((exit.status, exit.cause), (None, Some(Cause::SupervisorKilled)));
    assert!(exit.cpu_time_usec.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn control_groups_removed_underneath_are_told_and_nothing_is_left() {
    let Some(host) = Host::start().await else { return };
    let mut notices = host.runtime.take_notices().unwrap();
    let id = host.create().await;
    let dirs = group_dirs(host.state.dir.path(), &id);
    let unified = dirs.iter().find(|dir| dir.join("cgroup.kill").exists()).expect("a version 2 group");
    std::fs::write(unified.join("cgroup.kill"), "1").unwrap();
    eventually("they can be removed", async || {
        dirs.iter().all(|dir| !dir.exists() || std::fs::remove_dir(dir).is_ok())
    })
    .await;
    let exit = ended(&mut notices, &id).await;
    assert_eq!((exit.status, exit.cause), (KILLED, Some(Cause::ControlGroupsRemoved)));
    host.runtime.kill(&id).await.unwrap();
    host.runtime.shutdown().await;
    assert_eq!(host.runtime.survey().await.unwrap().sandboxes, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_moved_out_of_its_groups_ails_at_once_and_can_be_killed() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let pid = init_pid(host.state.dir.path(), &id).to_string();
    for dir in group_dirs(host.state.dir.path(), &id) {
        let parent = dir.parent().unwrap().join("cgroup.procs");
        std::fs::write(parent, &pid).unwrap();
        eventually("it can be removed", async || std::fs::remove_dir(&dir).is_ok()).await;
    }
    assert_eq!(host.runtime.check(&id).await, Err(Ailment::LimitsLost));
    assert_eq!(host.runtime.kill(&id).await.unwrap().unwrap().status, KILLED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_agent_is_silent_and_one_that_stands_still_on_purpose_is_not_asked() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    assert_eq!(host.runtime.check(&id).await, Ok(()));
    let pid = init_pid(host.state.dir.path(), &id);
    signal_process(pid, rustix::process::Signal::STOP);
    assert_eq!(host.runtime.check(&id).await, Err(Ailment::Silent));
    signal_process(pid, rustix::process::Signal::CONT);
    eventually("it answers again", async || host.runtime.check(&id).await.is_ok()).await;
    host.runtime.pause(&id).await.unwrap();
    assert_eq!(host.runtime.check(&id).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_whose_disk_is_gone_is_found_dead_and_the_others_are_found() {
    let Some(host) = Host::start().await else { return };
    let (lost, kept) = (host.create().await, host.create().await);
    let Host { runtime, state } = host;
    runtime.shutdown().await;
    drop(runtime);
    let image = state.dir.path().join("sandboxes").join(lost.as_str()).join("disk.ext4");
    std::fs::remove_file(image).unwrap();
    let seen = inspect(state.dir.path(), &support::cgroup_options(state.dir.path())).unwrap();
    let of = |id: &SandboxId| seen.sandboxes.iter().find(|(found, _)| found == id).unwrap().1.clone();
    assert!(matches!(of(&lost), Seen::Broken(_)));
    assert_eq!(of(&kept), Seen::Running);
    let runtime = state.runtime().await;
    let found = runtime.recover().await.unwrap();
    let of = |id: &SandboxId| found.iter().find(|found| found.id == *id).unwrap().state.clone();
    let FoundState::Dead(exit) = of(&lost) else { panic!("{found:?}") };
    assert_eq!(exit.cause, Some(Cause::DiskMissing));
    assert_eq!(of(&kept), FoundState::Running);
    for id in [&lost, &kept] {
        runtime.kill(id).await.unwrap();
    }
    runtime.shutdown().await;
    drop(state);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_died_with_its_groups_or_in_another_boot_is_found_with_nothing_made_up() {
    let Some(host) = Host::start().await else { return };
    let (rebooted, ungrouped) = (host.create().await, host.create().await);
    let Host { runtime, state } = host;
    runtime.shutdown().await;
    drop(runtime);
    let dir = |id: &SandboxId| state.dir.path().join("sandboxes").join(id.as_str());
    // As if the host had been restarted: what ran is gone, and so is the shim that would have seen it.
    for id in [&rebooted, &ungrouped] {
        kill_process(shim_pid(state.dir.path(), id));
    }
    let record = dir(&rebooted).join("sandbox.json");
    let mut text: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    text["boot_id"] = "another".into();
    std::fs::write(&record, text.to_string()).unwrap();
    let dirs: Vec<_> =
        [&rebooted, &ungrouped].into_iter().flat_map(|id| group_dirs(state.dir.path(), id)).collect();
    eventually("the groups can be removed", async || {
        dirs.iter().all(|dir| !dir.exists() || std::fs::remove_dir(dir).is_ok())
    })
    .await;
    let runtime = state.runtime().await;
    for found in runtime.recover().await.unwrap() {
        let FoundState::Dead(exit) = found.state else { panic!("{found:?}") };
        let expected = if found.id == rebooted { Cause::HostRestarted } else { Cause::ControlGroupsRemoved };
        assert_eq!((exit.cause, exit.status), (Some(expected), None));
        let made_up = (exit.n_oom_kills, exit.peak_memory_bytes, exit.cpu_time_usec);
        assert_eq!(made_up, (None, None, None), "unknown is not zero");
        runtime.kill(&found.id).await.unwrap();
    }
    runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strays_are_found_and_removed_and_what_lives_is_left_alone() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let layer = BuildId::generate(&Random);
    host.runtime.capture(&id, layer).await.unwrap();
    let survey = host.runtime.survey().await.unwrap();
    assert_eq!(
        (survey.sandboxes.as_slice(), survey.layers.as_slice()),
        ([id.clone()].as_slice(), [layer].as_slice())
    );
    let stray = host.state.new_id();
    assert_eq!(survey.strays, [], "other servers of the host have theirs in the same place");

    let state = host.state.dir.path();
    let dir = state.join("sandboxes").join(stray.as_str());
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("disk.ext4"), vec![0; 1 << 20]).unwrap();
    let cgroups = Cgroups::open(&support::cgroup_options(state)).unwrap();
    cgroups.create(&cgroups.own_name(stray.as_str())).unwrap();
    let device =
        std::process::Command::new("losetup").arg("--find").arg("--show").arg(dir.join("disk.ext4")).output();
    let has_device = device.is_ok_and(|made| made.status.success());
    let trash = state.join("trash/left-0");
    std::fs::create_dir(&trash).unwrap();
    let mounted = state.join("trash/left-0/mount");
    std::fs::create_dir(&mounted).unwrap();
    rustix::mount::mount("none", &mounted, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();

    let found: Vec<Stray> = host.runtime.survey().await.unwrap().strays;
    assert_eq!(found.len(), 4 + usize::from(has_device), "{found:?}");
    // In no particular order: what cannot be removed yet is removed by the next round.
    eventually("all are removed", async || {
        for stray in &found {
            let _later = host.runtime.remove(stray).await;
        }
        host.runtime.survey().await.unwrap().strays.is_empty()
    })
    .await;
    assert!(!dir.exists() && !trash.exists());
    assert_eq!(host.run(&id, User::User, "echo alive").await.stdout, "alive\n");
    assert_eq!(host.runtime.survey().await.unwrap().sandboxes, [id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_missing_base_are_told_apart_and_leave_nothing() {
    let Some(host) = Host::start().await else { return };
    let Host { runtime, state } = host;
    runtime.shutdown().await;
    drop((runtime, state));
    let state = State::new();
    let small = state.dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let size = c"size=24m";
    rustix::mount::mount("none", &small, "tmpfs", rustix::mount::MountFlags::empty(), Some(size)).unwrap();
    let outcome = full_and_missing(&state, &small).await;
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    outcome.unwrap();
}

async fn full_and_missing(state: &State, dir: &std::path::Path) -> Result<(), String> {
    let runtime =
        sandscope_engine_namespaces::linux::NamespacesEngine::start(support::options(dir), support::tasks())
            .await
            .unwrap();
    runtime.recover().await.unwrap();
    let first = support::spec(state.new_id());
    runtime.create(&first).await.map_err(|error| format!("there is room: {error:?}"))?;
    runtime.kill(&first.id).await.unwrap();
    std::fs::write(dir.join("filler"), vec![1; 64 << 20]).unwrap_err();
    let full = runtime.create(&support::spec(state.new_id())).await;
    if !matches!(full, Err(EngineError::DiskFull(_))) {
        return Err(format!("a full disk: {full:?}"));
    }
    std::fs::remove_file(dir.join("filler")).unwrap();
    eventually("there is room again", async || runtime.disk().is_some_and(|disk| !disk.is_short)).await;
    for entry in std::fs::read_dir(dir.join("base")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::rename(&path, path.with_extension("gone")).unwrap();
        }
    }
    let missing = runtime.create(&support::spec(state.new_id())).await;
    if !matches!(missing, Err(EngineError::BaseMissing)) {
        return Err(format!("a missing base: {missing:?}"));
    }
    runtime.shutdown().await;
    let left = runtime.survey().await.unwrap();
    if left.sandboxes.is_empty() && left.strays.is_empty() { Ok(()) } else { Err(format!("left: {left:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_left_frozen_by_a_checkpoint_that_was_cut_short_is_let_go_of() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let Host { runtime, state } = host;
    runtime.shutdown().await;
    drop(runtime);
    let record = state.dir.path().join("sandboxes").join(id.as_str()).join("sandbox.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let device = format!("/dev/loop{}", record["made"]["loop_device"]);
    let point = tempfile::tempdir().unwrap();
    let point = point.path().to_str().unwrap().to_owned();
    for command in [
        ["mount", "-t", "ext4", &device, &point].as_slice(),
        &["fsfreeze", "-f", &point],
        &["umount", "-l", &point],
    ] {
        let done = std::process::Command::new(command[0]).args(&command[1..]).status().unwrap();
        assert!(done.success(), "{command:?}");
    }
    kill_process(init_pid(state.dir.path(), &id));
    let exit = state.dir.path().join("sandboxes").join(id.as_str()).join("exit.json");
    eventually("its end is recorded", async || exit.exists()).await;
    assert_eq!(support::loops_of(state.dir.path()).len(), 1, "frozen, it outlives its sandbox");
    let runtime = state.runtime().await;
    let found = runtime.recover().await.unwrap();
    assert!(matches!(found[0].state, FoundState::Dead(_)), "{found:?}");
    runtime.kill(&id).await.unwrap();
    runtime.shutdown().await;
    eventually("its loop device is free", async || support::loops_of(state.dir.path()).is_empty()).await;
}
