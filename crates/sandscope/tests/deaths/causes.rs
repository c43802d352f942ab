//! Each cause of a death is distinguished from every other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sandscope_client::Command;

use crate::house::{BOUND, House, expect, kill_9, make_exit};
use crate::server::{self, eventually};

/// Fills memory with what outlives the processes that filled it.
const FILL_MEMORY: &str = "nohup bash -c 'while :; do python3 -c \"import ctypes; l=ctypes.CDLL(None); \
     l.shmat.restype=ctypes.c_void_p; i=l.shmget(0,64<<20,0o1600); p=l.shmat(i,None,0); \
     ctypes.memset(ctypes.c_void_p(p),1,64<<20)\"; done' >/dev/null 2>&1 & echo filling";

/// Lets System V memory stay, as much as there is of it.
const LIFT_BOUNDS: &str =
    "cd /proc/sys/kernel; echo 0 > shm_rmid_forced; echo 10000000000 > shmmax; echo 10000000 > shmall";

/// Asks the agent to hold many request heads without an end: from the host, so that no process inside pays for it.
const PRESS: &str = "import socket,time\nheld=[]\nwhile True:\n  s=socket.socket()\n  s.settimeout(1)\n  try:\n    \
     s.connect(('127.0.0.1',49983)); s.send(b'GET /health HTTP/1.1\\r\\nx: '+b'a'*60000); held.append(s)\n  \
     except OSError: pass\n  time.sleep(0.005)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_for_or_timed_out() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    let house = House::start(&["--metrics-interval-s", "1"]).await?;
    let by_request = house.create().await?.sandbox_id;
    let sandbox = house.create().await?;
    house
        .client
        .run(&sandbox, &Command::shell("head -c 20000000 /dev/zero | tail -c 20000000 >/dev/null"))
        .await?;
    let deadline = Instant::now() + BOUND;
    while house.client.metrics(&sandbox.sandbox_id, None).await?.is_empty() {
        ensure!(Instant::now() < deadline, "no sample was taken");
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let since = Instant::now();
    house.client.kill(&by_request).await?;
    let data = house.end_of("API kill", &by_request, since).await?;
    expect(
        &data,
        &serde_json::json!({"kill_reason": "request", "kill_detail": null, "exit_signal": 9, "oom_kills": 0}),
    )?;
    let since = Instant::now();
    house.client.set_timeout(&sandbox.sandbox_id, 0).await?;
    let data = house.end_of("timeout", &sandbox.sandbox_id, since).await?;
    expect(&data, &serde_json::json!({"kill_reason": "timeout", "kill_detail": null, "exit_signal": 9}))?;
    ensure!(data["peak_memory_bytes"].as_u64().is_some_and(|bytes| bytes > 20_000_000), "{data}");
    ensure!(data["cpu_time_ms"].as_u64().is_some_and(|ms| ms > 0), "{data}");
    ensure!(data["last_samples"]["count"].as_u64().is_some_and(|n| n > 0), "{data}");
    ensure!(data["execution"]["execution_time"].is_u64(), "{data}");
    house.leave().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_ends_or_is_ended() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    let house = House::start(&[]).await?;
    for code in [0, 1] {
        let id = house.create().await?.sandbox_id;
        let (pid, since) = (house.pid(&id, "init")?, Instant::now());
        // The thread that attaches is the only one that may let go.
        tokio::task::spawn_blocking(move || make_exit(pid, code)).await??;
        let data = house.end_of(&format!("agent exits {code}"), &id, since).await?;
        let expected = serde_json::json!({
            "kill_reason": "crashed", "kill_detail": "agent_exited", "exit_code": code, "exit_signal": null
        });
        expect(&data, &expected)?;
    }

    let id = house.create().await?.sandbox_id;
    let since = Instant::now();
    kill_9(house.pid(&id, "init")?)?;
    let data = house.end_of("agent killed", &id, since).await?;
    let expected = serde_json::json!({
        "kill_reason": "crashed", "kill_detail": "agent_signalled", "exit_signal": 9, "exit_code": null
    });
    expect(&data, &expected)?;

    let sandbox = house.create().await?;
    house.client.run(&sandbox, &Command::shell("for i in 1 2 3; do sleep 100 & done")).await?;
    let id = sandbox.sandbox_id;
    let (shim, since) = (house.pid(&id, "shim")?, Instant::now());
    let inside = house
        .groups(&id)?
        .into_iter()
        .filter_map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).ok());
    let mut pids: Vec<i32> =
        inside.flat_map(|text| text.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    pids.sort_unstable();
    pids.dedup();
    ensure!(pids.len() >= 2, "the sandbox's processes are in its groups: {pids:?}");
    for pid in [shim.as_raw()].into_iter().chain(pids) {
        // Some end with others.
        let _gone = kill_9(Pid::from_raw(pid));
    }
    let data = house.end_of("everything killed by the host", &id, since).await?;
    let expected = serde_json::json!({
        "kill_reason": "crashed", "kill_detail": "supervisor_killed", "exit_code": null, "exit_signal": null
    });
    expect(&data, &expected)?;
    house.leave().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_runs_out() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    let house = House::start(&["--memory-mb", "128"]).await?;
    let sandbox = house.create().await?;
    let id = sandbox.sandbox_id.clone();
    let since = Instant::now();
    let (code, _) = house.client.run(&sandbox, &Command::shell("tail /dev/zero")).await?;
    ensure!(code != 0);
    let told = house.wait_for(&id, "sandbox.oom").await?;
    println!("OOM of a child: reported after {} ms", since.elapsed().as_millis());
    let data = told.event_data.context("it says nothing")?;
    expect(&data, &serde_json::json!({"oom_kills": 1, "new_oom_kills": 1, "kill_reason": null}))?;
    let unasked = house.events(&id, &[]).await?;
    ensure!(unasked.iter().all(|event| event.event_type == "sandbox.lifecycle.created"), "{unasked:?}");
    ensure!(house.client.sandbox(&id).await?.state == "running");

    // Now the agent itself. Memory that stays without a process is bounded: a host's root alone can lift that.
    let pid = house.pid(&id, "init")?.to_string();
    let mut lift = tokio::process::Command::new("nsenter");
    lift.args([
        "--target",
        &pid,
        "--user",
        "--ipc",
        "--setuid",
        "0",
        "--setgid",
        "0",
        "sh",
        "-ec",
        LIFT_BOUNDS,
    ]);
    ensure!(lift.status().await?.success());
    let since = Instant::now();
    house.client.run(&sandbox, &Command::shell(FILL_MEMORY)).await?;
    let network = format!("--net=/proc/{}/ns/net", house.pid(&id, "init")?);
    let mut press = tokio::process::Command::new("nsenter");
    let mut press = press.args([network.as_str(), "python3", "-c", PRESS]).kill_on_drop(true).spawn()?;
    let data = house.end_of("OOM of the agent", &id, since).await?;
    press.kill().await?;
    let expected =
        serde_json::json!({"kill_reason": "oom", "kill_detail": "out_of_memory", "exit_signal": 9});
    expect(&data, &expected)?;
    ensure!(data["oom_kills"].as_u64().is_some_and(|n| n > 1), "{data}");
    ensure!(data["peak_memory_bytes"].as_u64().is_some_and(|bytes| bytes > 100 << 20), "{data}");
    house.leave().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_takes_something_away() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    let house = House::start(&["--agent-check-s", "1"]).await?;
    let id = house.create().await?.sandbox_id;
    let (dirs, since) = (house.groups(&id)?, Instant::now());
    for kill in dirs.iter().map(|dir| dir.join("cgroup.kill")).filter(|kill| kill.exists()) {
        std::fs::write(kill, "1")?;
    }
    eventually("the groups are removed", BOUND, || {
        dirs.iter().all(|dir| !dir.exists() || std::fs::remove_dir(dir).is_ok())
    })
    .await?;
    let data = house.end_of("control groups removed", &id, since).await?;
    expect(&data, &serde_json::json!({"kill_reason": "crashed", "kill_detail": "control_groups_removed"}))?;

    let id = house.create().await?.sandbox_id;
    let since = Instant::now();
    nix::sys::signal::kill(house.pid(&id, "init")?, Signal::SIGSTOP)?;
    let data = house.end_of("agent stopped", &id, since).await?;
    expect(&data, &serde_json::json!({"kill_reason": "agent_lost", "kill_detail": "agent_silent"}))?;
    house.leave().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_groups_are_removed_under_living_processes() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    // The reader of the counters finds out, not the periodic check of the agents.
    let house = House::start(&["--agent-check-s", "600"]).await?;
    let id = house.create().await?.sandbox_id;
    let dirs = house.groups(&id)?;
    let since = Instant::now();
    eventually("the groups are removed", BOUND, || {
        dirs.iter().all(|dir| {
            let processes = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            for pid in processes.lines() {
                let _ = std::fs::write(dir.with_file_name("cgroup.procs"), pid);
            }
            !dir.exists() || std::fs::remove_dir(dir).is_ok()
        })
    })
    .await?;
    let data = house.end_of("control groups removed", &id, since).await?;
    expect(&data, &serde_json::json!({"kill_reason": "crashed", "kill_detail": "control_groups_removed"}))?;
    house.leave().await
}

/// Takes locks of files, which the kernel charges to nobody, as the ordinary user.
const TAKE_LOCKS: &str = "nohup python3 -c \"import fcntl,os,struct\nkept=[]\nwhile True:\n  \
     f=os.open('/tmp/%d'%len(kept),os.O_RDWR|os.O_CREAT); kept.append(f)\n  \
     for i in range(0,1000,2): fcntl.fcntl(f,fcntl.F_SETLK,struct.pack('hhqqi4x',fcntl.F_WRLCK,0,i,1,0))\" \
     >/dev/null 2>&1 & echo locking";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_the_kernels_memory() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    let house = House::start(&["--kernel-memory-mb", "16"]).await?;
    let neighbour = house.create().await?;
    let sandbox = house.create().await?;
    let since = Instant::now();
    house.client.run(&sandbox, &Command::shell(TAKE_LOCKS)).await?;
    let data = house.end_of("kernel memory", &sandbox.sandbox_id, since).await?;
    expect(&data, &serde_json::json!({"kill_reason": "kernel_memory", "kill_detail": "file_locks"}))?;
    house.client.run(&neighbour, &Command::shell("true")).await?;
    house.leave().await
}
