use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sandscope_client::{Client, ClientOptions};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::processes;
use sandscope_model::keys;
use sandscope_system::OsEntropy;

/// How long the server may take to be ready; opening a store of a million events is part of it.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long it may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Over how long it is watched whether the server has come to rest, and at most how often.
const REST: Duration = Duration::from_millis(500);
const N_RESTS: u32 = 240;

/// The real server as a child process.
pub(super) struct Child {
    process: tokio::process::Child,
    client: Client,
    url: String,
    key: String,
    directory: TempDir,
}

impl Child {
    /// A server with a data directory of its own.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let key = keys::draw(&OsEntropy);
        let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
        Self::start_in(directory, key.expose()).await
    }

    /// The same, with more settings.
    pub(super) async fn start_with(settings: &[String]) -> anyhow::Result<Self> {
        let key = keys::draw(&OsEntropy);
        let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
        Self::launch(directory, key.expose(), settings).await
    }

    /// A server over the data in `directory`, of which `key` is the first team's key or becomes it.
    pub(super) async fn start_in(directory: TempDir, key: &str) -> anyhow::Result<Self> {
        Self::launch(directory, key, &[]).await
    }

    async fn launch(directory: TempDir, key: &str, settings: &[String]) -> anyhow::Result<Self> {
        let (process, url) = spawn(directory.path(), key, settings).await?;
        let key = key.to_owned();
        Ok(Self { process, client: client(&url, &key)?, url, key, directory })
    }

    /// `kill -9`, and a new start over the same data; when that began.
    pub(super) async fn kill_and_start(&mut self) -> anyhow::Result<Instant> {
        self.process.kill().await.context("cannot kill the server")?;
        let began = Instant::now();
        (self.process, self.url) = spawn(self.directory.path(), &self.key, &[]).await?;
        self.client = client(&self.url, &self.key)?;
        Ok(began)
    }

    /// Stops it and starts it again with other settings. Its sandboxes live on.
    pub(super) async fn restart(&mut self, settings: &[String]) -> anyhow::Result<()> {
        self.terminate().await?;
        let (process, url) = spawn(self.directory.path(), &self.key, settings).await?;
        self.client = client(&url, &self.key)?;
        (self.process, self.url) = (process, url);
        Ok(())
    }

    /// Waits until the server uses less than a twentieth of a CPU; how long that took. After a start it sums up what it
    /// finds in its log, once.
    pub(super) async fn rest(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let used = |pid| processes::cpu_time(pid).context("the server has ended");
        for _ in 0..N_RESTS {
            let before = used(self.pid()?)?;
            tokio::time::sleep(REST).await;
            if used(self.pid()?)?.saturating_sub(before) < REST / 20 {
                break;
            }
        }
        Ok(began.elapsed())
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Where it listens.
    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        let address = self.url.strip_prefix("http://").context("the server speaks no plain HTTP")?;
        Ok(address.parse()?)
    }

    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.process.id().context("the server has ended")
    }

    /// Kills every sandbox and stops the server.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        for sandbox in self.client.sandboxes("running,paused", usize::MAX).await? {
            self.client.kill(&sandbox.sandbox_id).await?;
        }
        self.terminate().await
    }

    async fn terminate(&mut self) -> anyhow::Result<()> {
        let pid = self.pid()?.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        tokio::time::timeout(STOP_LIMIT, self.process.wait()).await.context("the server did not stop")??;
        Ok(())
    }
}

fn client(url: &str, key: &str) -> anyhow::Result<Client> {
    let options = ClientOptions { api_url: url.to_owned(), sandbox_url: None, api_key: key.to_owned() };
    Ok(Client::new(&options)?)
}

async fn spawn(
    directory: &Path,
    key: &str,
    settings: &[String],
) -> anyhow::Result<(tokio::process::Child, String)> {
    let mut process = Command::new(std::env::current_exe()?)
        .args([
            "serve",
            "--dev",
            "--listen",
            "127.0.0.1:0",
            "--max-concurrent-sandboxes",
            "2000",
            "--data-dir",
        ])
        .arg(directory.join("data"))
        .args(settings)
        .env("SANDSCOPE_FIRST_API_KEY", key)
        .env("SANDSCOPE_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the server")?;
    let stdout = process.stdout.take().context("the server has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(url) = line.strip_prefix("export E2B_API_URL=") {
                return Ok(url.to_owned());
            }
        }
        anyhow::bail!("the server ended before it was ready")
    };
    let url =
        tokio::time::timeout(READY_LIMIT, ready).await.context("the server was not ready in time")??;
    Ok((process, url))
}
