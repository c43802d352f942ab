//! The real binary as a child process with a data directory of its own, and a webhook receiver.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::allow_attributes, reason = "what is unused differs between the binaries that include this")]
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test may stop at anything unexpected")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use sandscope_client::{Client, ClientOptions};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What the operator of every test's server asks with.
pub(crate) const ADMIN_TOKEN: &str = "an-operator-s-token";

/// How long a server may take to start or to stop. On a crowded machine the kernel takes its time over the sandboxes
/// that died with the last one.
const PATIENCE: Duration = Duration::from_secs(120);

/// Says so and returns true where real sandboxes cannot be made.
pub(crate) fn skip_without_root(what: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    if !root {
        skip(what, "real sandboxes need root");
    }
    !root
}

/// Says that `what` is not tested here, and why.
pub(crate) fn skip(what: &str, why: &str) {
    eprintln!("SKIPPED {what}: {why}");
}

/// Asks `question` until it answers yes; an error after `limit`.
pub(crate) async fn eventually(what: &str, limit: Duration, question: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !question() {
        ensure!(Instant::now() < deadline, "not within {limit:?}: {what}");
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A running server. Dropping it kills the process (and, if the test did not get to, leaves its sandboxes to the check
/// for leftovers at the end of the test run).
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    /// Removed with the server.
    _holder: Option<tempfile::TempDir>,
    extra: Vec<String>,
    /// What is set for it.
    set: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
}

impl Server {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// With more arguments.
    pub(crate) async fn start_with(extra: &[&str]) -> Result<Self> {
        Self::start_in_with(tempfile::Builder::new().prefix("sandscope-test-").tempdir()?, extra).await
    }

    /// The first start over `data` that succeeds.
    pub(crate) async fn start_in(data: tempfile::TempDir) -> Result<Self> {
        Self::start_in_with(data, &[]).await
    }

    pub(crate) async fn start_in_with(data: tempfile::TempDir, extra: &[&str]) -> Result<Self> {
        Self::start_as(data, extra, &[]).await
    }

    /// With these variables in its environment.
    pub(crate) async fn start_where(set: &[(&str, &str)]) -> Result<Self> {
        Self::start_as(tempfile::Builder::new().prefix("sandscope-test-").tempdir()?, &[], set).await
    }

    async fn start_as(data: tempfile::TempDir, extra: &[&str], set: &[(&str, &str)]) -> Result<Self> {
        let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
        let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut environment = BTreeMap::new();
        let child = spawn(data.path(), (&extra, &set), &mut environment, "E2B_API_KEY").await?;
        Ok(Self { child, data: data.path().to_owned(), _holder: Some(data), extra, set, environment })
    }

    /// A server over a directory that holds a copy of another's, whose keys it therefore knows.
    pub(crate) async fn start_over(data: PathBuf, original: &Self, extra: &[&str]) -> Result<Self> {
        let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
        let mut environment = original.environment.clone();
        let child = spawn(&data, (&extra, &[]), &mut environment, "E2B_DOMAIN").await?;
        Ok(Self { child, data, _holder: None, extra, set: Vec::new(), environment })
    }

    /// What a server says that does not start over `data`.
    pub(crate) async fn refusal(data: &Path, extra: &[&str]) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(extra);
        let refused = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await??;
        ensure!(!refused.status.success() && refused.stdout.is_empty(), "it started: {refused:?}");
        Ok(String::from_utf8_lossy(&refused.stderr).into_owned())
    }

    /// Renames the directory of a server that was stopped.
    pub(crate) fn move_data(&mut self, to: PathBuf) -> Result<()> {
        std::fs::rename(&self.data, &to)?;
        self.data = to;
        Ok(())
    }

    /// Starts with other arguments from now on.
    pub(crate) fn set_extra(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(ToString::to_string).collect();
    }

    /// What `sandscope fsck` says.
    pub(crate) async fn fsck(&self) -> Result<std::process::Output> {
        let mut fsck = Command::new(env!("CARGO_BIN_EXE_sandscope"));
        fsck.args(["fsck", "--data-dir"]).arg(&self.data).kill_on_drop(true);
        tokio::time::timeout(Duration::from_secs(120), fsck.output()).await?.context("cannot run fsck")
    }

    /// Insists that store, kernel and event log agree.
    pub(crate) async fn check_agreement(&self) -> Result<()> {
        let fsck = self.fsck().await?;
        let words = String::from_utf8_lossy(&fsck.stdout);
        let complaint = String::from_utf8_lossy(&fsck.stderr);
        ensure!(fsck.status.success(), "fsck ended with {}:\n{words}{complaint}", fsck.status);
        Ok(())
    }

    /// Starts the server anew over the same data.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        // The key is printed only once; the domain is the last line of every start.
        self.child = spawn(&self.data, (&self.extra, &self.set), &mut self.environment, "E2B_DOMAIN").await?;
        Ok(())
    }

    pub(crate) fn client(&self) -> Result<Client> {
        let value = |name: &str| self.environment.get(name).cloned().with_context(|| format!("no {name}"));
        let options = ClientOptions {
            api_url: value("E2B_API_URL")?,
            sandbox_url: Some(value("E2B_SANDBOX_URL")?),
            api_key: value("E2B_API_KEY")?,
        };
        Ok(Client::new(&options)?)
    }

    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("the server is not running")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill_hard(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the server")
    }

    /// SIGTERM, and insists on a clean end.
    pub(crate) async fn stop_softly(&mut self) -> Result<()> {
        let pid = self.child.id().context("the server is not running")?;
        let kill = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        ensure!(kill.success(), "cannot signal the server");
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    pub(crate) fn open_store(&self) -> Result<sandscope_store::Store> {
        Ok(sandscope_store::Store::open(&self.data, Arc::new(Clock))?)
    }
}

async fn spawn(
    data: &Path,
    (extra, set): (&[String], &[(String, String)]),
    found: &mut BTreeMap<String, String>,
    last: &str,
) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(extra);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    // Many servers side by side would keep more of the disk free than it has.
    command.env("SANDSCOPE_DISK_RESERVE_MB", "16");
    command.env("SANDSCOPE_ADMIN_TOKEN", ADMIN_TOKEN).envs(set.iter().cloned());
    let log = std::fs::File::options().create(true).append(true).open(data.join("server.log"))?;
    let mut child = command.stderr(log).spawn().context("cannot start the server")?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            let assignment = line.strip_prefix("export ").and_then(|rest| rest.split_once('='));
            let (name, value) = assignment.with_context(|| format!("not for a shell: {line}"))?;
            found.insert(name.to_owned(), value.trim_matches(['\'', '"']).to_owned());
            if name == last {
                return Ok(());
            }
        }
        bail!("the server ended before it was ready")
    };
    let done = tokio::time::timeout(PATIENCE, ready).await.context("the server was not ready in time");
    if let Err(error) = done.and_then(|inner| inner) {
        let log = std::fs::read_to_string(data.join("server.log")).unwrap_or_default();
        return Err(error.context(log));
    }
    Ok(child)
}

#[derive(Debug)]
struct Clock;

impl sandscope_model::Clock for Clock {
    fn wall(&self) -> sandscope_model::Timestamp {
        sandscope_model::Timestamp::now()
    }

    fn uptime(&self) -> sandscope_model::Uptime {
        static BEGUN: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        sandscope_model::Uptime::new(BEGUN.elapsed())
    }

    fn boot(&self) -> sandscope_model::BootId {
        uuid::Uuid::nil().into()
    }

    fn sleep_until(&self, at: sandscope_model::Uptime) -> sandscope_model::Sleep {
        // sleep: this is the clock
        Box::pin(tokio::time::sleep(at.since(self.uptime())))
    }
}

/// Accepts every webhook delivery and remembers whose event it was.
pub(crate) struct Receiver {
    address: std::net::SocketAddr,
    received: Arc<Mutex<(BTreeSet<String>, usize)>>,
}

impl Receiver {
    pub(crate) async fn start() -> Result<Self> {
        let received: Arc<Mutex<(BTreeSet<String>, usize)>> = Arc::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let keep = Arc::clone(&received);
        let accept = move |body: axum::Json<serde_json::Value>| {
            let id = body["id"].as_str().unwrap_or_default().to_owned();
            let mut kept = keep.lock().expect("not poisoned");
            kept.0.insert(id);
            kept.1 += 1;
            std::future::ready("thanks")
        };
        let router = axum::Router::new().route("/hook", axum::routing::post(accept));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, received })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn deliveries(&self) -> usize {
        self.received.lock().expect("not poisoned").1
    }

    /// The ids of all events that came.
    pub(crate) fn received(&self) -> BTreeSet<String> {
        self.received.lock().expect("not poisoned").0.clone()
    }

    pub(crate) fn has_all(&self, owed: &BTreeSet<String>) -> bool {
        self.received.lock().expect("not poisoned").0.is_superset(owed)
    }
}
