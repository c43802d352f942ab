//! The server under test, and how its sandboxes are hurt behind its back.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sandscope_client::{Client, Event, EventFilter, EventQuery, NewSandbox, Sandbox};
use serde_json::Value;

use crate::server::Server;

pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// A server, and what tests do to its sandboxes behind its back.
pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) client: Client,
}

impl House {
    pub(crate) async fn start(extra: &[&str]) -> Result<Self> {
        let server = Server::start_with(extra).await?;
        let client = server.client()?;
        Ok(Self { server, client })
    }

    pub(crate) async fn create(&self) -> Result<Sandbox> {
        let spec = NewSandbox { template_id: "base".into(), timeout: Some(300), ..NewSandbox::default() };
        Ok(self.client.create_sandbox(&spec).await?)
    }

    pub(crate) fn dir(&self, id: &str) -> PathBuf {
        self.server.data().join("sandboxes").join(id)
    }

    pub(crate) fn record(&self, id: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.dir(id).join("sandbox.json"))?)?)
    }

    /// The sandbox's first process (`init`) or the one that looks after it (`shim`).
    pub(crate) fn pid(&self, id: &str, which: &str) -> Result<Pid> {
        let pid = self.record(id)?["made"][which]["pid"].as_i64().context("no such process recorded")?;
        Ok(Pid::from_raw(pid.try_into()?))
    }

    pub(crate) fn groups(&self, id: &str) -> Result<Vec<PathBuf>> {
        Ok(serde_json::from_value(self.record(id)?["cgroup_dirs"].clone())?)
    }

    /// Waits until the sandbox's end is reported; prints how long that took from `since`.
    pub(crate) async fn end_of(&self, way: &str, id: &str, since: Instant) -> Result<Value> {
        let killed = self.wait_for(id, "sandbox.lifecycle.killed").await.with_context(|| way.to_owned())?;
        let data = killed.event_data.context("it says nothing")?;
        println!("{way}: reported after {} ms: {}", since.elapsed().as_millis(), summary(&data));
        Ok(data)
    }

    pub(crate) async fn wait_for(&self, id: &str, event_type: &str) -> Result<Event> {
        let deadline = Instant::now() + BOUND;
        loop {
            if let Some(event) = self.events(id, &[event_type]).await?.pop() {
                return Ok(event);
            }
            ensure!(Instant::now() < deadline, "{event_type} was not reported");
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn events(&self, id: &str, types: &[&str]) -> Result<Vec<Event>> {
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
    pub(crate) async fn leave(mut self) -> Result<()> {
        for sandbox in self.client.sandboxes("running,paused", 100).await? {
            self.client.kill(&sandbox.sandbox_id).await?;
        }
        self.server.check_agreement().await?;
        self.server.stop_softly().await?;
        self.server.check_agreement().await
    }
}

/// The keys by which deaths are distinguished.
pub(crate) fn summary(data: &Value) -> String {
    let keys = ["kill_reason", "kill_detail", "exit_code", "exit_signal", "oom_kills", "peak_memory_bytes"];
    let told = keys.iter().filter(|key| !data[**key].is_null());
    told.map(|key| format!("{key}={}", data[*key])).collect::<Vec<_>>().join(" ")
}

/// Insists on the keys' values; `null` means that the key must not be there.
pub(crate) fn expect(data: &Value, expected: &Value) -> Result<()> {
    for (key, value) in expected.as_object().context("an object")? {
        ensure!(data[key] == *value, "{key} should be {value}: {data}");
    }
    Ok(())
}

pub(crate) fn kill_9(pid: Pid) -> Result<()> {
    nix::sys::signal::kill(pid, Signal::SIGKILL).with_context(|| format!("kill -9 {pid}"))
}

/// Makes a process call `exit_group(code)`, as a debugger would: the agent never does so by itself.
pub(crate) fn make_exit(pid: Pid, code: u64) -> Result<()> {
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

pub(crate) async fn run(arguments: &[&str], server: &Server) -> Result<Output> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(arguments).arg("--data-dir").arg(server.data());
    tokio::time::timeout(BOUND, command.output()).await?.context("cannot run the binary")
}
