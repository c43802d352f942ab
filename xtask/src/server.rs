//! A server for tests, on a free port and with a data directory of its own, and held to what it must not keep: once
//! its sandboxes are gone it holds no more than before they came, and once it has stopped nothing of them is left on
//! the host.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::footprint::Footprint;
use crate::trail::Trail;
use crate::{install, shell};

/// How long a server may take to stop, and to release what it held. Threads that wait for blocking work stay ten
/// seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is the same for this long is settled.
const SETTLED: Duration = Duration::from_secs(1);

/// Sandboxes are kept ready, and the first is replaced as soon as it is taken; this many by default.
const KEPT_READY: usize = 4;

pub(crate) struct Server {
    binary: PathBuf,
    child: Child,
    environment: BTreeMap<String, String>,
    log: PathBuf,
    data: PathBuf,
    trail: Trail,
    /// Whom clients are to trust, of a server that speaks TLS.
    authority: Option<PathBuf>,
    /// Of the server and of the process that makes its sandboxes, before there was any.
    before: [Footprint; 2],
}

impl Server {
    /// Starts it, reads the lines it prints for a shell to evaluate, and waits until it has nothing more to do.
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        Self::launch(binary, &[], None)
    }

    /// The same over TLS, with what `sandscope tls self-signed` put into `certificate`.
    pub(crate) fn start_tls(binary: &Path, certificate: &Path) -> Result<Self> {
        let path = |name: &str| certificate.join(name).display().to_string();
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let settings = ["--domain", "e2b.localhost", "--tls-cert", &cert, "--tls-key", &key];
        Self::launch(binary, &settings, Some(certificate.join("ca.pem")))
    }

    fn launch(binary: &Path, settings: &[&str], authority: Option<PathBuf>) -> Result<Self> {
        let data = install::home().join(format!("e2e-{}", std::process::id()));
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        std::fs::create_dir_all(&data)?;
        let log = install::home().join(format!("e2e-server-{}.log", std::process::id()));
        // Less kept free than for a server that is to last: many of these run on one disk.
        let arguments =
            ["serve", "--dev", "--listen", "127.0.0.1:0", "--disk-reserve-mb", "16", "--data-dir"];
        let mut command = Command::new(binary);
        command.args(arguments).arg(&data).args(settings).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&log)?);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let environment = match announced(&mut child) {
            Ok(environment) => environment,
            Err(error) => {
                let _ = child.kill();
                return Err(error.context(format!("the server did not start:\n{}", tail(&log))));
            }
        };
        let trail = Trail::follow(&data)?;
        let binary = binary.to_owned();
        let mut server =
            Self { binary, child, environment, log, data, trail, authority, before: Default::default() };
        server.wait_for_an_event()?;
        server.before = server.settle(|_| true)?;
        Ok(server)
    }

    /// The task that hands events to those who wait for them starts with the first of them, and then stays.
    fn wait_for_an_event(&self) -> Result<()> {
        if self.authority.is_some() {
            return Ok(());
        }
        let known = |name: &str| self.environment.get(name).with_context(|| format!("no {name}"));
        let address = known("E2B_API_URL")?.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET /events/sandboxes?orderAsc=true&cursor=latest&wait=1 HTTP/1.1\r\nHost: {address}\r\n\
             X-API-Key: {}\r\nConnection: close\r\n\r\n",
            known("E2B_API_KEY")?
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the server answered {answer}");
        Ok(())
    }

    /// Runs `command` with the server's address and key; shows the end of the server's log if it fails.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let cleared =
            ["E2B_ACCESS_TOKEN", "E2B_DEBUG", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
        for name in cleared {
            command.env_remove(name);
        }
        if let Some(authority) = &self.authority {
            command.env("NODE_EXTRA_CA_CERTS", authority).env("SSL_CERT_FILE", authority);
        }
        command.env("SANDSCOPE_SERVER_PID", self.child.id().to_string());
        command.env("SANDSCOPE_DATA_DIR", &self.data);
        command.env("SANDSCOPE_BINARY", &self.binary);
        let done = shell::run(command.envs(&self.environment));
        done.with_context(|| format!("the server's log ends with:\n{}", tail(&self.log)))
    }

    /// Ends its sandboxes (they would outlive it), asks it to stop and insists that it does so cleanly and that
    /// nothing is left: in the server, and on the host.
    pub(crate) fn stop(mut self, binary: &Path) -> Result<()> {
        self.trail.look();
        match &self.authority {
            None => self.run(Command::new(binary).args(["sandbox", "kill", "--all"]))?,
            // The certificate is also for a name that is known everywhere.
            Some(_) => {
                let script = shell::root().join("tests/e2e/js/kill-all.mjs");
                self.run(Command::new("node").arg(script))?;
            }
        }
        let before = self.before.clone();
        let kept = self.settle(|now| excess(&before, now).is_empty());
        let stopped = self.terminate();
        let now = kept?;
        stopped?;
        let left = self.left();
        println!(
            "    {} sandboxes; descriptors, threads and tasks as before: {}; resident {} MiB, before {} MiB; left on the host: {}",
            self.trail.len(),
            excess(&before, &now).is_empty(),
            now[0].resident_kib / 1024,
            before[0].resident_kib / 1024,
            left.len(),
        );
        if !left.is_empty() {
            bail!("left behind by this server:\n  {}", left.join("\n  "));
        }
        std::fs::remove_dir_all(&self.data)?;
        std::fs::remove_file(&self.log)?;
        Ok(())
    }

    /// Waits until what the server and its launcher hold stays the same and is what is `wanted`.
    fn settle(&mut self, wanted: impl Fn(&[Footprint; 2]) -> bool) -> Result<[Footprint; 2]> {
        let deadline = Instant::now() + PATIENCE;
        let mut now = self.measure()?;
        let mut since = Instant::now();
        loop {
            if since.elapsed() >= SETTLED && self.shelf_is_full() && wanted(&now) {
                return Ok(now);
            }
            if Instant::now() > deadline {
                let more = excess(&self.before, &now).join("\n  ");
                bail!(
                    "the server does not release what it held, or never rests:\n  {more}\n{}",
                    tail(&self.log)
                );
            }
            std::thread::sleep(Duration::from_millis(200));
            self.trail.look();
            let next = self.measure()?;
            let same = next
                .iter()
                .zip(&now)
                .all(|(a, b)| (&a.descriptors, a.threads, a.tasks) == (&b.descriptors, b.threads, b.tasks));
            if !same {
                since = Instant::now();
            }
            now = next;
        }
    }

    fn shelf_is_full(&self) -> bool {
        std::fs::read_dir(self.data.join("warm")).map_or(0, Iterator::count) == KEPT_READY
    }

    fn measure(&mut self) -> Result<[Footprint; 2]> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended with {status}:\n{}", tail(&self.log));
        }
        let server = self.child.id();
        let launcher = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        let launcher =
            launcher.unwrap_or_default().split_whitespace().next().and_then(|pid| pid.parse().ok());
        let tasks = self.tasks()?;
        Ok([
            Footprint::of(server, tasks),
            launcher.map_or_else(Footprint::default, |pid| Footprint::of(pid, 0)),
        ])
    }

    /// Asks the server how many tasks are alive.
    fn tasks(&self) -> Result<u64> {
        let reports = || reports(&std::fs::read_to_string(&self.log).unwrap_or_default());
        let known = reports().len();
        shell::run(Command::new("kill").args(["-USR1", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(tasks) = reports().get(known) {
                return Ok(*tasks);
            }
            if Instant::now() > deadline {
                bail!("the server does not say how many tasks are alive:\n{}", tail(&self.log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&mut self) -> Result<()> {
        shell::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                bail!("the server did not stop within {PATIENCE:?} of SIGTERM:\n{}", tail(&self.log));
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if !status.success() {
            bail!("the server ended with {status}:\n{}", tail(&self.log));
        }
        Ok(())
    }

    /// Removing control groups and loop devices takes the kernel a moment, so the answer may come late, within a bound.
    fn left(&mut self) -> Vec<String> {
        self.trail.look();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = self.trail.left();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// What the server prints once it is ready. The key is the last line of a first start.
fn announced(child: &mut Child) -> Result<BTreeMap<String, String>> {
    let stdout = child.stdout.take().context("the server has no standard output")?;
    let mut environment = BTreeMap::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let (name, value) = line
            .strip_prefix("export ")
            .and_then(|rest| rest.split_once('='))
            .with_context(|| format!("the server printed something a shell cannot evaluate: {line}"))?;
        environment.insert(name.to_owned(), value.trim_matches(['\'', '"']).to_owned());
        if name == "E2B_API_KEY" {
            return Ok(environment);
        }
    }
    bail!("it printed no key")
}

fn excess(before: &[Footprint; 2], now: &[Footprint; 2]) -> Vec<String> {
    let named = ["server", "launcher"].into_iter().zip(now.iter().zip(before));
    named
        .flat_map(|(name, (now, before))| {
            now.beyond(before).into_iter().map(move |more| format!("{name}: {more}"))
        })
        .collect()
}

/// The numbers of tasks the server wrote to its log.
fn reports(log: &str) -> Vec<u64> {
    let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records
        .filter(|record| record["message"] == "alive")
        .filter_map(|record| record["n_tasks"].as_u64())
        .collect()
}

fn tail(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("\"alive\"")).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_tasks_are_read_from_the_log() {
        let log = "{\"message\":\"ready\"}\nno JSON\n{\"message\":\"alive\",\"n_tasks\":31}\n{\"message\":\"alive\",\"n_tasks\":7}\n";
        assert_eq!(reports(log), [31, 7]);
    }
}
