//! Every way to die, on real sandboxes under the real server: each is told apart from every other.
//!
//! The promise is "within a second". Machines that build and test are slower than that, so the time each took is
//! printed and only a generous bound is insisted on.

#![expect(clippy::print_stdout, reason = "the times are for whoever looks")]

mod server;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sandscope_client::{Client, ClientError, Command, Event, EventFilter, EventQuery, NewSandbox, Sandbox};
use serde_json::Value;
use server::{Server, eventually};

const BOUND: Duration = Duration::from_secs(30);

/// Fills memory with what outlives the processes that filled it.
const FILL_MEMORY: &str = "nohup bash -c 'while :; do python3 -c \"import ctypes; l=ctypes.CDLL(None); \
     l.shmat.restype=ctypes.c_void_p; i=l.shmget(0,64<<20,0o1600); p=l.shmat(i,None,0); \
     ctypes.memset(ctypes.c_void_p(p),1,64<<20)\"; done' >/dev/null 2>&1 & echo filling";

/// Asks the agent to hold many request heads without an end: from the host, so that no process inside pays for it.
const PRESS: &str = "import socket,time\nheld=[]\nwhile True:\n  s=socket.socket()\n  s.settimeout(1)\n  try:\n    \
     s.connect(('127.0.0.1',49983)); s.send(b'GET /health HTTP/1.1\\r\\nx: '+b'a'*60000); held.append(s)\n  \
     except OSError: pass\n  time.sleep(0.005)";

/// A server, and what tests do to its sandboxes behind its back.
struct House {
    server: Server,
    client: Client,
}

impl House {
    async fn start(extra: &[&str]) -> Result<Self> {
        let server = Server::start_with(extra).await?;
        let client = server.client()?;
        Ok(Self { server, client })
    }

    async fn create(&self) -> Result<Sandbox> {
        let spec = NewSandbox { template_id: "base".into(), timeout: Some(300), ..NewSandbox::default() };
        Ok(self.client.create_sandbox(&spec).await?)
    }

    fn dir(&self, id: &str) -> PathBuf {
        self.server.data().join("sandboxes").join(id)
    }

    fn record(&self, id: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.dir(id).join("sandbox.json"))?)?)
    }

    /// The sandbox's first process (`init`) or the one that looks after it (`shim`).
    fn pid(&self, id: &str, which: &str) -> Result<Pid> {
        let pid = self.record(id)?["made"][which]["pid"].as_i64().context("no such process recorded")?;
        Ok(Pid::from_raw(pid.try_into()?))
    }

    fn groups(&self, id: &str) -> Result<Vec<PathBuf>> {
        Ok(serde_json::from_value(self.record(id)?["cgroup_dirs"].clone())?)
    }

    /// Waits until the sandbox's end is told; prints how long that took from `since`.
    async fn end_of(&self, way: &str, id: &str, since: Instant) -> Result<Value> {
        let killed = self.wait_for(id, "sandbox.lifecycle.killed").await.with_context(|| way.to_owned())?;
        let data = killed.event_data.context("it says nothing")?;
        println!("{way}: told after {} ms: {}", since.elapsed().as_millis(), summary(&data));
        Ok(data)
    }

    async fn wait_for(&self, id: &str, event_type: &str) -> Result<Event> {
        let deadline = Instant::now() + BOUND;
        loop {
            if let Some(event) = self.events(id, &[event_type]).await?.pop() {
                return Ok(event);
            }
            ensure!(Instant::now() < deadline, "{event_type} was not told");
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn events(&self, id: &str, types: &[&str]) -> Result<Vec<Event>> {
        let query = EventQuery {
            sandbox_id: Some(id.to_owned()),
            filter: EventFilter {
                types: types.iter().map(ToString::to_string).collect(),
                ..EventFilter::default()
            },
            limit: 100,
            ascending: true,
            ..EventQuery::default()
        };
        Ok(self.client.events(&query).await?)
    }

    /// Ends what lives, insists that everything agrees, and stops.
    async fn leave(mut self) -> Result<()> {
        for sandbox in self.client.sandboxes("running,paused", 100).await? {
            self.client.kill(&sandbox.sandbox_id).await?;
        }
        self.server.check_agreement().await?;
        self.server.stop_softly().await?;
        self.server.check_agreement().await
    }
}

/// The keys by which deaths are told apart.
fn summary(data: &Value) -> String {
    let keys = ["kill_reason", "kill_detail", "exit_code", "exit_signal", "oom_kills", "peak_memory_bytes"];
    let told = keys.iter().filter(|key| !data[**key].is_null());
    told.map(|key| format!("{key}={}", data[*key])).collect::<Vec<_>>().join(" ")
}

/// Insists on the keys' values; `null` means that the key must not be there.
fn expect(data: &Value, expected: &Value) -> Result<()> {
    for (key, value) in expected.as_object().context("an object")? {
        ensure!(data[key] == *value, "{key} should be {value}: {data}");
    }
    Ok(())
}

fn kill_9(pid: Pid) -> Result<()> {
    nix::sys::signal::kill(pid, Signal::SIGKILL).with_context(|| format!("kill -9 {pid}"))
}

/// Makes a process call `exit_group(code)`, as a debugger would: the agent never does so by itself.
fn make_exit(pid: Pid, code: u64) -> Result<()> {
    const EXIT_GROUP: u64 = 231;
    ptrace::attach(pid).context("attach")?;
    nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::__WALL)).context("wait for it to stop")?;
    let mut registers = ptrace::getregs(pid).context("read its registers")?;
    // It waits in a system call: back to the instruction that made it, with another number.
    registers.rip -= 2;
    registers.rax = EXIT_GROUP;
    registers.orig_rax = u64::MAX;
    registers.rdi = code;
    ptrace::setregs(pid, registers).context("change its registers")?;
    ptrace::detach(pid, None).context("let it go")
}

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
    println!("OOM of a child: told after {} ms", since.elapsed().as_millis());
    let data = told.event_data.context("it says nothing")?;
    expect(&data, &serde_json::json!({"oom_kills": 1, "new_oom_kills": 1, "kill_reason": null}))?;
    let unasked = house.events(&id, &[]).await?;
    ensure!(unasked.iter().all(|event| event.event_type == "sandbox.lifecycle.created"), "{unasked:?}");
    ensure!(house.client.sandbox(&id).await?.state == "running");

    // Now the agent itself.
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
    // Who finds out is whoever reads the counters, not who asks agents from time to time.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed_and_started_again() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    // Control groups of those made ahead have names of their own, which only the directory knows.
    let mut house = House::start(&["--warm-sandboxes", "0"]).await?;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(house.create().await?.sandbox_id);
    }
    let [alive, killed, exited, unseen, rebooted, diskless, vanished] = ids.as_slice() else {
        bail!("seven")
    };
    let (pids, shims): (Vec<Pid>, Vec<Pid>) = (
        ids.iter().map(|id| house.pid(id, "init")).collect::<Result<_>>()?,
        ids.iter().map(|id| house.pid(id, "shim")).collect::<Result<_>>()?,
    );
    let orphaned = house.groups(vanished)?;
    house.server.kill_hard().await?;
    // Nobody is looking now.
    kill_9(pids[1])?;
    let pid = pids[2];
    tokio::task::spawn_blocking(move || make_exit(pid, 3)).await??;
    kill_9(shims[3])?;
    kill_9(shims[4])?;
    kill_9(shims[6])?;
    let mut record = house.record(rebooted)?;
    record["boot_id"] = "another".into();
    std::fs::write(house.dir(rebooted).join("sandbox.json"), record.to_string())?;
    std::fs::remove_file(house.dir(diskless).join("disk.ext4"))?;
    std::fs::remove_dir_all(house.dir(vanished))?;
    eventually("the ends are recorded", BOUND, || {
        [killed, exited].iter().all(|id| house.dir(id).join("exit.json").exists())
    })
    .await?;
    let before = house.server.fsck().await?;
    ensure!(before.status.success(), "what the next start owes is no disagreement: {before:?}");
    ensure!(String::from_utf8_lossy(&before.stdout).contains("pending"), "{before:?}");

    house.server.start_again().await?;
    house.client = house.server.client()?;
    ensure!(house.client.sandbox(alive).await?.state == "running", "it lives on");
    eventually("nothing is left of what vanished", BOUND, || orphaned.iter().all(|dir| !dir.exists()))
        .await?;
    ensure!(house.events(alive, &[]).await?.len() == 1, "and nothing is told of it");
    let since = Instant::now();
    let expected = [
        (
            "killed meanwhile",
            killed,
            serde_json::json!({"kill_reason": "crashed", "kill_detail": "agent_signalled", "exit_signal": 9}),
        ),
        (
            "exited meanwhile",
            exited,
            serde_json::json!({"kill_reason": "crashed", "kill_detail": "agent_exited", "exit_code": 3}),
        ),
        (
            "supervisor killed meanwhile",
            unseen,
            serde_json::json!({"kill_reason": "crashed", "kill_detail": "supervisor_killed", "exit_signal": null}),
        ),
        (
            "host restarted",
            rebooted,
            serde_json::json!({"kill_reason": "host_restart", "kill_detail": "host_restarted"}),
        ),
        (
            "root file system gone",
            diskless,
            serde_json::json!({"kill_reason": "base_template_missing", "kill_detail": "disk_missing"}),
        ),
        (
            "vanished",
            vanished,
            serde_json::json!({"kill_reason": "orphaned", "kill_detail": "vanished", "oom_kills": null, "cpu_time_ms": null}),
        ),
    ];
    for (way, id, expected) in expected {
        let data = house.end_of(way, id, since).await?;
        expect(&data, &expected).with_context(|| way.to_owned())?;
        ensure!(house.events(id, &["sandbox.lifecycle.killed"]).await?.len() == 1, "{way}: told once");
    }
    house.leave().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why_and_leaves_no_trace() -> Result<()> {
    if server::skip_without_root("deaths") {
        return Ok(());
    }
    let house = House::start(&["--warm-sandboxes", "0"]).await?;
    let sandbox = house.create().await?;
    let snapshot = house.client.snapshot(&sandbox.sandbox_id, None).await?;
    for entry in std::fs::read_dir(house.server.data().join("snapshots"))? {
        std::fs::remove_file(entry?.path())?;
    }
    let from_nothing = NewSandbox { template_id: snapshot.snapshot_id, ..NewSandbox::default() };
    let message = refused(house.client.create_sandbox(&from_nothing).await)?;
    ensure!(message.contains("root filesystem is missing"), "{message}");
    ensure!(!house.server.fsck().await?.status.success(), "a layer that is gone is a disagreement");
    house.client.delete_template(&from_nothing.template_id).await?;
    house.leave().await?;

    // A disk of its own that is full: a file system in memory stands for it.
    let mount = tempfile::tempdir()?;
    let mounted = tokio::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=48m", "none"])
        .arg(mount.path())
        .status()
        .await?;
    ensure!(mounted.success(), "mount: {:?}", mounted.signal());
    let outcome = start_on_a_full_disk(mount.path()).await;
    let unmounted = tokio::process::Command::new("umount").arg("-l").arg(mount.path()).status().await?;
    ensure!(unmounted.success());
    outcome
}

async fn start_on_a_full_disk(disk: &Path) -> Result<()> {
    let data = tempfile::Builder::new().prefix("data-").tempdir_in(disk)?;
    let server = Server::start_in_with(data, &["--warm-sandboxes", "0", "--disk-mb", "64"]).await?;
    let client = server.client()?;
    let house = House { server, client };
    let living = house.create().await?.sandbox_id;
    let ballast = disk.join("ballast");
    // The store keeps what it has; a little is left for it to say so.
    let free = nix::sys::statvfs::statvfs(disk)?;
    let room = free.blocks_available() * free.fragment_size();
    std::fs::write(&ballast, vec![1; usize::try_from(room.saturating_sub(60 << 10))?])?;
    let message = refused(house.create().await.map_err(|error| match error.downcast::<ClientError>() {
        Ok(error) => error,
        Err(error) => ClientError::Malformed(error.to_string()),
    }))?;
    ensure!(message.contains("disk is full"), "{message}");
    ensure!(house.client.sandbox(&living).await?.state == "running", "others live on");
    std::fs::remove_file(&ballast)?;
    house.create().await?;
    house.leave().await
}

/// The words of a refusal.
fn refused(answer: std::result::Result<Sandbox, ClientError>) -> Result<String> {
    match answer {
        Err(error @ ClientError::Refused { .. }) => Ok(error.to_string()),
        Err(error) => Err(error.into()),
        Ok(sandbox) => bail!("{} was made", sandbox.sandbox_id),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_the_host_well_and_fsck_finds_what_was_tampered_with() -> Result<()> {
    if server::skip_without_root("doctor and fsck") {
        return Ok(());
    }
    let mut house = House::start(&[]).await?;
    let id = house.create().await?.sandbox_id;
    let doctor = run(&["doctor", "--json", "--listen", "127.0.0.1:0"], &house.server).await?;
    let told: Value = serde_json::from_slice(&doctor.stdout)?;
    ensure!(told["well"] == true && doctor.status.success(), "{told}");
    let checks = told["checks"].as_array().context("checks")?;
    ensure!(checks.len() > 12 && checks.iter().all(|check| check["says"].is_string()), "{told}");
    house.server.check_agreement().await?;

    // The kernel no longer agrees with the store, for longer than a moment.
    house.server.kill_hard().await?;
    kill_9(house.pid(&id, "init")?)?;
    let doctor = run(&["doctor", "--listen", "127.0.0.1:0"], &house.server).await?;
    let words = String::from_utf8(doctor.stdout)?;
    ensure!(words.contains("no server runs, but"), "{words}");
    house.server.start_again().await?;
    house.client = house.server.client()?;
    house.server.check_agreement().await?;

    // Somebody takes an event out of the log.
    let other = house.create().await?.sandbox_id;
    house.server.kill_hard().await?;
    let facts = house.server.data().join("facts.sqlite");
    edit(&facts, "UPDATE teams SET last_sequence = last_sequence + 1").await?;
    let fsck = run(&["fsck", "--json"], &house.server).await?;
    let told: Value = serde_json::from_slice(&fsck.stdout)?;
    ensure!(
        told["findings"].to_string().contains("its counter says"),
        "the end of the log is missing: {told}"
    );
    edit(&facts, "UPDATE teams SET last_sequence = last_sequence - 1").await?;
    edit(&facts, "DELETE FROM events WHERE sequence = 2").await?;
    let fsck = run(&["fsck", "--json"], &house.server).await?;
    let told: Value = serde_json::from_slice(&fsck.stdout)?;
    ensure!(told["agrees"] == false && fsck.status.code() == Some(1), "{told}");
    ensure!(told["findings"].to_string().contains("its number should be 2"), "{told}");
    house.server.start_again().await?;
    house.client = house.server.client()?;
    house.client.kill(&other).await?;
    house.server.stop_softly().await
}

#[tokio::test]
async fn fsck_neither_agrees_with_an_empty_database_nor_makes_it_whole() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let facts = dir.path().join("facts.sqlite");
    std::fs::write(&facts, "x")?;
    let mut fsck = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    let told = fsck.args(["fsck", "--data-dir"]).arg(dir.path()).output().await?;
    let words = String::from_utf8(told.stderr)?;
    ensure!(!told.status.success() && words.contains("facts.sqlite is empty"), "{words}");
    ensure!(std::fs::read(&facts)? == b"x", "it was written to");
    Ok(())
}

async fn edit(database: &Path, statement: &str) -> Result<()> {
    let program = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()";
    let mut python = tokio::process::Command::new("python3");
    let edited = python.args(["-c", program]).arg(database).arg(statement).status().await?;
    ensure!(edited.success(), "{statement}");
    Ok(())
}

async fn run(arguments: &[&str], server: &Server) -> Result<Output> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(arguments).arg("--data-dir").arg(server.data());
    tokio::time::timeout(BOUND, command.output()).await?.context("cannot run the binary")
}
