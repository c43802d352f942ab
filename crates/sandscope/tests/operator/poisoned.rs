//! A watched task of the real server that fails for a cause from outside: the group of processes that the server is in
//! is full, as with a `TasksMax` that is too small. The kernel then refuses new threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandscope_client::NewSandbox;

use crate::port::{get, operator_address, scrape};
use crate::server::{self, Server, eventually};

/// Idle threads leave after ten seconds, and a task waits for up to a minute before it starts again.
const PATIENCE: Duration = Duration::from_secs(120);

/// A group of processes that can be full.
struct Group(PathBuf);

impl Group {
    /// Where the kernel has such groups and lets us make one.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sandscope-test-{}-{number}", std::process::id());
        let unified = Path::new("/sys/fs/cgroup");
        let is_unified = fs::read_to_string(unified.join("cgroup.subtree_control"))
            .is_ok_and(|controllers| controllers.split_whitespace().any(|controller| controller == "pids"));
        let parent = if is_unified { unified.to_owned() } else { unified.join("pids") };
        let group = parent.join(name);
        (parent.join("cgroup.procs").exists() && fs::create_dir(&group).is_ok()).then_some(Self(group))
    }

    fn add(&self, pid: u32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).context("cannot move the server")
    }

    /// From now on it is as large as it is.
    fn close(&self) -> Result<()> {
        let n = fs::read_to_string(self.0.join("pids.current"))?;
        fs::write(self.0.join("pids.max"), n).context("cannot bound the group")
    }

    fn open(&self) -> Result<()> {
        fs::write(self.0.join("pids.max"), "max").context("cannot open the group")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Where the test failed, its processes may still be on their way.
        let _left_behind = fs::remove_dir(&self.0);
    }
}

/// Threads of the runtime beside those that it always has.
fn n_idle(pid: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    let n = names.filter(|name| name.trim() == "tokio-rt-worker").count();
    n.saturating_sub(std::thread::available_parallelism().map_or(1, usize::from))
}

/// What the operator's port says of the task that keeps sandboxes ready.
async fn shelf(address: &str) -> Result<serde_json::Value> {
    let answer = get(address, "/tasks").await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let tasks: Vec<serde_json::Value> = serde_json::from_str(body)?;
    tasks.into_iter().find(|task| task["name"] == "warm-shelf").context("no such task")
}

/// Asks until the task is in `state`.
async fn shelf_in(address: &str, state: &str) -> Result<serde_json::Value> {
    let in_state = async {
        loop {
            let task = shelf(address).await?;
            if task["state"] == state {
                return Ok(task);
            }
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, in_state).await.with_context(|| format!("never {state}"))?
}

/// A server in need: no thread of it is idle, and it gets no other. `None` where that cannot be had.
async fn in_need(what: &str) -> Result<Option<(Server, Group)>> {
    if server::skip_without_root(what) {
        return Ok(None);
    }
    let mut server =
        Server::start_with(&["--operator-listen", "127.0.0.1:0", "--warm-sandboxes", "1"]).await?;
    let pid = server.pid()?;
    let Some(group) = Group::new() else {
        server::skip(what, "no group of processes can be made");
        server.stop_softly().await?;
        return Ok(None);
    };
    group.add(pid)?;
    ensure!(get(&public(&server)?, "/health").await?.starts_with("HTTP/1.1 20"));
    eventually("the shelf is full and idle threads have left", PATIENCE, || n_idle(pid) == 0).await?;
    group.close()?;
    Ok(Some((server, group)))
}

fn public(server: &Server) -> Result<String> {
    Ok(server.environment().get("E2B_API_URL").context("no address")?.replace("http://", ""))
}

/// Whether it can be made or not, the shelf has to make another.
async fn create_in_need(server: &Server) -> Result<Option<String>> {
    match server.client()?.create_sandbox(&wanted()).await {
        Ok(sandbox) => Ok(Some(sandbox.sandbox_id)),
        Err(refused) if refused.status() == Some(503) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn wanted() -> NewSandbox {
    NewSandbox { template_id: "base".to_owned(), timeout: Some(300), ..NewSandbox::default() }
}

/// Nothing is left of the server that has ended, nor of its sandboxes.
async fn nothing_is_left(server: &Server, group: &Group) -> Result<()> {
    // What has a directory has control groups.
    for held in ["warm", "sandboxes"].map(|name| server.data().join(name)) {
        let left: Vec<_> = fs::read_dir(&held)?.collect::<Result<_, _>>()?;
        ensure!(left.is_empty(), "left behind: {left:?}");
    }
    // The launcher leaves a moment after the server; of a create that came to nothing, nothing may live on.
    let data = server.data();
    eventually("nobody holds the data directory", PATIENCE, || n_holders(&data) == 0).await?;
    eventually("the group is empty", PATIENCE, || fs::remove_dir(&group.0).is_ok()).await
}

#[tokio::test]
async fn a_task_that_fails_for_want_of_threads_is_seen_everywhere_and_starts_again() -> Result<()> {
    let Some((mut server, group)) = in_need("a server out of threads").await? else { return Ok(()) };
    let address = operator_address(&server).context("the log does not say where the port is")?;
    let public = public(&server)?;
    let made = create_in_need(&server).await?;
    let task = shelf_in(&address, "waiting").await?;
    let failure = task["lastExit"]["failure"].as_str().context("no failure")?;
    ensure!(failure.starts_with("got no thread from the host: "), "{task}");
    ensure!(scrape(&address).await?.contains("sandscope_task_up{task=\"warm-shelf\"} 0\n"));
    for address in [&public, &address] {
        let health = get(address, "/health").await?;
        ensure!(health.starts_with("HTTP/1.1 503"), "{address}: {health}");
    }

    group.open()?;
    let task = shelf_in(&address, "running").await?;
    ensure!(task["restarts"].as_u64().is_some_and(|n| n >= 1), "{task}");
    ensure!(get(&public, "/health").await?.starts_with("HTTP/1.1 20"));
    let client = server.client()?;
    let after = client.create_sandbox(&wanted()).await?.sandbox_id;
    for id in made.iter().chain([&after]) {
        client.kill(id).await?;
    }
    server.stop_softly().await?;
    nothing_is_left(&server, &group).await
}

#[tokio::test]
async fn a_server_out_of_threads_stops_all_the_same_and_the_next_start_removes_what_it_left() -> Result<()> {
    let Some((mut server, group)) = in_need("the stop of a server out of threads").await? else {
        return Ok(());
    };
    let made = create_in_need(&server).await?;
    server.stop_softly().await?;
    group.open()?;
    server.start_again().await?;
    if let Some(id) = &made {
        server.client()?.kill(id).await?;
    }
    server.check_agreement().await?;
    server.stop_softly().await?;
    nothing_is_left(&server, &group).await
}

/// Processes with an open file in `dir`, also one that was deleted: a sandbox's first process and its parent hold theirs.
fn n_holders(dir: &Path) -> usize {
    let holds = |process: &fs::DirEntry| {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.starts_with(dir))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter(holds).count()
}
