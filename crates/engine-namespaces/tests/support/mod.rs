//! What the tests on real sandboxes share.
#![allow(dead_code, reason = "not every test binary needs everything")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use sandscope_agent_protocol::frame::{self, FrameDecoder};
use sandscope_agent_protocol::process::{Output, ProcessConfig, ProcessEvent, ProcessResponse, StartRequest};
use sandscope_cgroup::{CgroupOptions, CgroupSet, Cgroups};
use sandscope_engine::{Depth, Dial as _, Engine as _, LaunchSpec, Notice, ReadError, Readings as _, Wanted};
use sandscope_engine_namespaces::linux::{LinuxOptions, NamespacesEngine};
use sandscope_model::{Counters, Entropy, ExecutionId, Exit, Rootfs, SandboxId, TemplateId};
use sandscope_tasks::Tasks;
use sandscope_testbed::StepClock;
use tokio::sync::mpsc;

/// The group of this package's tests; sandboxes' names are unique within it.
pub(crate) const CGROUP_PARENT: &str = "sandscope-engine-test";
/// How long anything may take before the test says that it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        use std::io::Read as _;
        std::fs::File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
    }
}

/// Whether real sandboxes can be made here; says so if not.
pub(crate) fn can_run() -> bool {
    match sandscope_engine_namespaces::linux::check_host(&CgroupOptions::default()) {
        Ok(()) => true,
        Err(problems) => {
            for problem in problems {
                eprintln!("SKIPPED, no sandboxes here: {problem}");
            }
            false
        }
    }
}

/// Tasks that only the test looks at.
pub(crate) fn tasks() -> Tasks {
    sandscope_testbed::tasks(Arc::new(StepClock::new()))
}

pub(crate) fn launcher() -> PathBuf {
    env!("CARGO_BIN_EXE_sandscope-test-launcher").into()
}

/// Whose the control groups of a state directory are: no two tests have the same.
pub(crate) fn owner(state_dir: &Path) -> String {
    let letters: Vec<char> =
        state_dir.to_str().unwrap().chars().filter(char::is_ascii_alphanumeric).collect();
    letters[letters.len().saturating_sub(32)..].iter().collect()
}

pub(crate) fn cgroup_options(state_dir: &Path) -> CgroupOptions {
    CgroupOptions { parent: CGROUP_PARENT.into(), owner: Some(owner(state_dir)), ..CgroupOptions::default() }
}

/// A sandbox's control groups, if it was not made ahead.
pub(crate) fn set_of(state_dir: &Path, id: &SandboxId) -> CgroupSet {
    let cgroups = Cgroups::probe(&cgroup_options(state_dir)).unwrap();
    cgroups.open_set(&cgroups.own_name(id.as_str())).unwrap().unwrap()
}

pub(crate) fn options(state_dir: &Path) -> LinuxOptions {
    let mut options = LinuxOptions::new(state_dir.to_owned(), launcher(), owner(state_dir));
    options.cgroup_parent = CGROUP_PARENT.into();
    options
}

pub(crate) fn spec(id: SandboxId) -> LaunchSpec {
    LaunchSpec {
        id,
        execution_id: ExecutionId::generate(&Random),
        template_id: TemplateId::generate(&Random),
        rootfs: Rootfs::Host,
        vcpu_count: 1,
        memory_mb: 128,
        disk_mb: 64,
        env_vars: BTreeMap::new(),
        access_token: None,
    }
}

/// A state directory whose sandboxes end with it, however the test ends.
pub(crate) struct State {
    pub(crate) dir: tempfile::TempDir,
    ids: Mutex<Vec<SandboxId>>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), ids: Mutex::default() }
    }

    pub(crate) fn new_id(&self) -> SandboxId {
        let id = SandboxId::generate(&Random);
        self.ids.lock().unwrap().push(id.clone());
        id
    }

    pub(crate) async fn runtime(&self) -> NamespacesEngine {
        NamespacesEngine::start(options(self.dir.path()), tasks()).await.unwrap()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let Ok(cgroups) = Cgroups::probe(&cgroup_options(self.dir.path())) else { return };
        for id in self.ids.lock().unwrap().drain(..) {
            if let Ok(Some(set)) = cgroups.open_set(&cgroups.own_name(id.as_str())) {
                let _gone = set.kill_all().and_then(|()| set.wait_empty(PATIENCE));
                let _gone = set.remove(PATIENCE);
            }
        }
        clear_half(self.dir.path());
    }
}

/// For the end of a state directory whose sandboxes have ended.
pub(crate) fn clear_half(state_dir: &Path) {
    let Ok(cgroups) = Cgroups::probe(&cgroup_options(state_dir)) else { return };
    let start = std::time::Instant::now();
    while !cgroups.clear_half().unwrap_or(true) && start.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
}

/// A runtime that has started, over a state of its own.
pub(crate) struct Host {
    pub(crate) runtime: NamespacesEngine,
    pub(crate) state: State,
}

impl Host {
    /// `None`, loudly, where there can be no sandboxes.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn start_with(change: impl FnOnce(&mut LinuxOptions)) -> Option<Self> {
        if !can_run() {
            return None;
        }
        let state = State::new();
        let mut options = options(state.dir.path());
        change(&mut options);
        let runtime = NamespacesEngine::start(options, tasks()).await.unwrap();
        assert_eq!(runtime.recover().await.unwrap(), []);
        Some(Self { runtime, state })
    }

    pub(crate) fn spec(&self) -> LaunchSpec {
        spec(self.state.new_id())
    }

    pub(crate) async fn create(&self) -> SandboxId {
        let spec = self.spec();
        self.runtime.create(&spec).await.unwrap();
        spec.id
    }

    pub(crate) async fn run(&self, id: &SandboxId, user: User, script: &str) -> Ran {
        run(&self.runtime, id, user, script).await
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum User {
    Root,
    User,
}

/// What a script did.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

/// What is counted of one sandbox now.
pub(crate) async fn counters(runtime: &NamespacesEngine, id: &SandboxId) -> Result<Counters, ReadError> {
    let read = runtime.read(vec![Wanted { id: id.clone(), depth: Depth::Stored }]).await.pop();
    read.unwrap().1.map(|reading| reading.counters)
}

/// Runs a shell script inside, through the agent's own protocol. One whose sandbox has no memory left may read its
/// programs from the disk again and again.
pub(crate) async fn run(runtime: &NamespacesEngine, id: &SandboxId, user: User, script: &str) -> Ran {
    tokio::time::timeout(Duration::from_secs(180), try_run(runtime, id, user, script))
        .await
        .expect("a script hangs")
}

/// Starts a shell script inside that outlives its starter.
pub(crate) async fn start_detached(runtime: &NamespacesEngine, id: &SandboxId, user: User, script: &str) {
    let script = format!("nohup bash -c '{script}' >/dev/null 2>&1 & echo started");
    assert_eq!(run(runtime, id, user, &script).await.stdout, "started\n");
}

fn start_request(user: User, script: &str) -> http::Request<Full<Bytes>> {
    let start = StartRequest {
        process: Some(ProcessConfig {
            cmd: "/bin/bash".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            ..ProcessConfig::default()
        }),
        stdin: Some(false),
        ..StartRequest::default()
    };
    let basic = match user {
        User::Root => "Basic cm9vdDo=",
        User::User => "Basic dXNlcjo=",
    };
    http::Request::post("/process.Process/Start")
        .header("host", "localhost")
        .header("content-type", "application/connect+json")
        .header("connect-protocol-version", "1")
        .header("authorization", basic)
        .body(Full::new(frame::encode(&start).unwrap()))
        .unwrap()
}

async fn try_run(runtime: &NamespacesEngine, id: &SandboxId, user: User, script: &str) -> Ran {
    let stream = runtime.dial(id, sandscope_agent_protocol::AGENT_PORT).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = start_request(user, script);
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.abort();
    let mut frames = FrameDecoder::default();
    frames.push(&body);
    let mut ran = Ran { code: i32::MIN, ..Ran::default() };
    while let Some(frame) = frames.next().unwrap() {
        if frame.end_of_stream {
            assert!(ran.code != i32::MIN, "no end: {:?}", frame.payload);
            break;
        }
        let text = |blob: &sandscope_agent_protocol::Blob| String::from_utf8_lossy(&blob.0).into_owned();
        match serde_json::from_slice::<ProcessResponse>(&frame.payload).unwrap().event {
            ProcessEvent::Data(Output::Stdout(blob)) => ran.stdout += &text(&blob),
            ProcessEvent::Data(Output::Stderr(blob)) => ran.stderr += &text(&blob),
            ProcessEvent::End(end) => ran.code = end.exit_code,
            _ => {}
        }
    }
    ran
}

/// One request to the agent: status and body.
pub(crate) async fn ask(
    runtime: &NamespacesEngine,
    id: &SandboxId,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, Bytes) {
    let exchange = async {
        let stream = runtime.dial(id, sandscope_agent_protocol::AGENT_PORT).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        (status, body)
    };
    tokio::time::timeout(Duration::from_secs(60), exchange).await.expect("the agent does not answer")
}

/// Starts a program and returns at its first event; it runs on.
pub(crate) async fn start(runtime: &NamespacesEngine, id: &SandboxId, user: User, script: &str) -> u32 {
    try_start(runtime, id, user, script).await.expect("no start")
}

/// The same, or `None` where it could not be started.
pub(crate) async fn try_start(
    runtime: &NamespacesEngine,
    id: &SandboxId,
    user: User,
    script: &str,
) -> Option<u32> {
    let stream = runtime.dial(id, sandscope_agent_protocol::AGENT_PORT).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let exchange = async {
        let mut response = sender.send_request(start_request(user, script)).await.unwrap();
        let mut frames = FrameDecoder::default();
        loop {
            let piece = response.body_mut().frame().await.expect("no answer").unwrap();
            frames.push(piece.data_ref().unwrap());
            let Some(frame) = frames.next().unwrap() else { continue };
            if frame.end_of_stream {
                return None;
            }
            let event = serde_json::from_slice::<ProcessResponse>(&frame.payload).unwrap().event;
            let ProcessEvent::Start { pid } = event else { panic!("{event:?}") };
            return Some(pid);
        }
    };
    let started = tokio::time::timeout(PATIENCE, exchange).await.expect("the agent does not answer");
    connection.abort();
    started
}

/// Looks until `done`, at most [`PATIENCE`].
pub(crate) async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next notice, which reports the end of `id`.
pub(crate) async fn ended(notices: &mut mpsc::Receiver<Notice>, id: &SandboxId) -> Exit {
    match tokio::time::timeout(PATIENCE, notices.recv()).await.unwrap().unwrap() {
        Notice::Ended { id: of, exit } if of == *id => exit,
        other => panic!("{other:?}"),
    }
}

/// The sandbox's first process, by the host's number, from its record.
pub(crate) fn init_pid(state_dir: &Path, id: &SandboxId) -> i32 {
    pid(state_dir, id, "init")
}

/// The process that looks after it.
pub(crate) fn shim_pid(state_dir: &Path, id: &SandboxId) -> i32 {
    pid(state_dir, id, "shim")
}

fn pid(state_dir: &Path, id: &SandboxId, which: &str) -> i32 {
    let file = state_dir.join("sandboxes").join(id.as_str()).join("sandbox.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    record["made"][which]["pid"].as_i64().unwrap().try_into().unwrap()
}

/// Loop devices whose image lies below the directory.
pub(crate) fn loops_of(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block").unwrap() {
        let backing = entry.unwrap().path().join("loop/backing_file");
        found.extend(std::fs::read_to_string(backing).ok().filter(|file| Path::new(file).starts_with(dir)));
    }
    found
}

/// How many of them belong to no image that is still there.
pub(crate) fn n_spare_loops(dir: &Path) -> usize {
    let images = |of: &str| std::fs::read_dir(dir.join(of)).unwrap().filter_map(Result::ok);
    let images = ["sandboxes", "warm"].into_iter().flat_map(images);
    let n_images = images.filter(|entry| entry.path().join("disk.ext4").exists()).count();
    loops_of(dir).len().saturating_sub(n_images)
}

pub(crate) fn kill_process(pid: i32) {
    signal_process(pid, rustix::process::Signal::KILL);
}

pub(crate) fn signal_process(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
