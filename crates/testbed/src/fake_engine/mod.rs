//! An engine without a kernel: sandboxes are entries of a map, yet they run, freeze, die and survive the
//! server just as real ones do.
//!
//! ```text
//!   test ──inject/hold/exit──►  World (shared: it is the "host", and outlives any one server)
//!                                 ▲  sandboxes, captured layers, faults, who is held
//!   server life 1 ── FakeEngine ─┤  epoch 1: dead once `next_life` was called or a fault halted it:
//!   server life 2 ── FakeEngine ─┘           every call waits for ever, as in a process that was killed
//! ```
//!
//! Ownership: the world owns everything under one mutex that is never held across an await. Failure cases are the
//! point of it: see [`Fault`].

mod dial;
mod faults;
mod operations;
mod readings;
#[cfg(test)]
#[path = "../fake_engine_tests.rs"]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandscope_engine::{Ailment, Capabilities, EngineProfile, Isolation, Lack, LaunchSpec, Notice, Stray};
use sandscope_model::{BuildId, Cause, Clock, Counters, Exit, ExitStatus, SandboxId, Uptime, Values};
use tokio::sync::{mpsc, watch};

use faults::Faults;
pub use faults::{Fault, Op, Question, Trigger};

/// How many notices may wait for the server.
const NOTICES: usize = 1024;

/// In what shape a sandbox of the fake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It ended and nobody cleaned up yet.
    Dead(Exit),
}

/// An engine that keeps its sandboxes in memory. Clones are the same server's view of the same host.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    world: Arc<World>,
    /// Which life of the server this handle belongs to.
    epoch: u64,
}

#[derive(Debug)]
struct World {
    clock: Arc<dyn Clock>,
    profile: EngineProfile,
    state: Mutex<WorldState>,
    /// Raised after every change, for those who wait for a condition.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct WorldState {
    epoch: u64,
    halted: bool,
    sandboxes: BTreeMap<SandboxId, FakeSandbox>,
    layers: BTreeSet<BuildId>,
    strays: BTreeSet<Stray>,
    faults: Faults,
    listeners: BTreeMap<(Option<SandboxId>, u16), SocketAddr>,
    /// Whether connections are no plain sockets.
    tunnels: bool,
    notices_sender: Option<mpsc::Sender<Notice>>,
    notices_receiver: Option<mpsc::Receiver<Notice>>,
}

#[derive(Debug)]
struct FakeSandbox {
    spec: LaunchSpec,
    shape: Shape,
    /// Readings so far; `taken_at_usec` is when CPU time was last added up.
    counters: Counters,
    /// CPUs its processes keep busy while it runs.
    load_cpus: f64,
    ailment: Option<Ailment>,
}

impl FakeEngine {
    /// An empty host. CPU time passes as `clock` says.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (notices_sender, notices_receiver) = mpsc::channel(NOTICES);
        let state = WorldState {
            notices_sender: Some(notices_sender),
            notices_receiver: Some(notices_receiver),
            ..WorldState::default()
        };
        let world =
            World { clock, profile: profile(), state: Mutex::new(state), changes: watch::Sender::new(0) };
        Self { world: Arc::new(world), epoch: 0 }
    }

    /// The server was killed and starts again on the same host: sandboxes live on, every handle of the earlier life
    /// is dead, planned faults and holds are forgotten.
    #[must_use]
    pub fn next_life(&self) -> Self {
        let (notices_sender, notices_receiver) = mpsc::channel(NOTICES);
        let epoch = self.change(|state| {
            state.epoch += 1;
            state.halted = false;
            state.faults = Faults::default();
            state.notices_sender = Some(notices_sender);
            state.notices_receiver = Some(notices_receiver);
            state.epoch
        });
        Self { world: Arc::clone(&self.world), epoch }
    }

    /// The host was restarted: whatever lived is dead, and nobody saw how it ended.
    pub fn restart_host(&self) {
        self.change(|state| {
            for sandbox in state.sandboxes.values_mut() {
                sandbox.shape = Shape::Dead(Exit::of_cause(Cause::HostRestarted));
            }
        });
    }

    /// Ends a live sandbox although nobody asked, and reports it to the server unless that is down. An exit without a
    /// cause gets the one its status speaks for. `false` if there is no such live sandbox.
    pub fn exit(&self, id: &SandboxId, mut exit: Exit) -> bool {
        exit.cause = exit.cause.or(exit.plain_cause());
        self.change(|state| {
            let Some(sandbox) = state.sandboxes.get_mut(id) else {
                return false;
            };
            if matches!(sandbox.shape, Shape::Dead(_)) {
                return false;
            }
            sandbox.counters.n_oom_kills = exit.n_oom_kills.unwrap_or(0);
            sandbox.shape = Shape::Dead(exit.clone());
            state.notify(Notice::Ended { id: id.clone(), exit });
            true
        })
    }

    /// Ends a live sandbox as the kernel does when memory runs out.
    pub fn run_out_of_memory(&self, id: &SandboxId) -> bool {
        let n_oom_kills = self.lock().sandboxes.get(id).map(|sandbox| sandbox.counters.n_oom_kills + 1);
        let exit = Exit {
            status: Some(ExitStatus::Signal(9)),
            cause: Some(Cause::OutOfMemory),
            n_oom_kills,
            ..Exit::default()
        };
        self.exit(id, exit)
    }

    /// Kills processes other than the first of a live sandbox, as the kernel does when memory runs out.
    pub fn lose_processes(&self, id: &SandboxId, n: u64) {
        self.change(|state| {
            let Some(sandbox) = state.sandboxes.get_mut(id) else { return };
            sandbox.counters.n_oom_kills += n;
            let n_oom_kills = sandbox.counters.n_oom_kills;
            state.notify(Notice::OutOfMemory { id: id.clone(), n_oom_kills });
        });
    }

    /// The engine says nothing any more of what happens to sandboxes.
    pub fn fall_silent(&self) {
        self.change(|state| state.notices_sender = None);
    }

    /// What [`check`](sandscope_engine::Engine::check) says about a sandbox from now on.
    pub fn ail(&self, id: &SandboxId, ailment: Option<Ailment>) {
        self.change(|state| {
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.ailment = ailment;
            }
        });
    }

    /// Leaves something on the host that belongs to nothing.
    pub fn stray(&self, stray: Stray) {
        self.change(|state| state.strays.insert(stray));
    }

    /// What belongs to nothing on the host.
    pub fn strays(&self) -> BTreeSet<Stray> {
        self.lock().strays.clone()
    }

    /// Captures a layer nobody asked for.
    pub fn plant_layer(&self, build: BuildId) {
        self.change(|state| state.layers.insert(build));
    }

    /// Puts a sandbox the server never asked for on the host, or changes one behind its back.
    pub fn plant(&self, spec: LaunchSpec, shape: Shape) {
        let now = self.world.clock.uptime();
        self.change(|state| {
            let mut sandbox = FakeSandbox::new(spec, now);
            sandbox.shape = shape;
            state.sandboxes.insert(sandbox.spec.id.clone(), sandbox);
        });
    }

    /// Changes a sandbox's shape behind the server's back.
    pub fn set_shape(&self, id: &SandboxId, shape: Shape) {
        self.change(|state| {
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.shape = shape;
            }
        });
    }

    /// Removes every trace of a sandbox behind the server's back.
    pub fn vanish(&self, id: &SandboxId) {
        self.change(|state| {
            state.sandboxes.remove(id);
        });
    }

    /// The sandboxes on the host and their shapes.
    pub fn shapes(&self) -> BTreeMap<SandboxId, Shape> {
        self.lock().sandboxes.iter().map(|(id, sandbox)| (id.clone(), sandbox.shape.clone())).collect()
    }

    /// What a sandbox was started with.
    pub fn spec(&self, id: &SandboxId) -> Option<LaunchSpec> {
        self.lock().sandboxes.get(id).map(|sandbox| sandbox.spec.clone())
    }

    /// The captured layers on the host.
    pub fn layers(&self) -> BTreeSet<BuildId> {
        self.lock().layers.clone()
    }

    /// Keeps `cpus` of a sandbox busy from now on, while it runs.
    pub fn set_load(&self, id: &SandboxId, cpus: f64) {
        let now = self.world.clock.uptime();
        self.change(|state| {
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.pass_time(now);
                sandbox.load_cpus = cpus;
            }
        });
    }

    /// Changes a sandbox's readings. CPU time goes on from what is set here.
    pub fn set_counters(&self, id: &SandboxId, change: impl FnOnce(&mut Counters)) {
        let now = self.world.clock.uptime();
        self.change(|state| {
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.pass_time(now);
                change(&mut sandbox.counters);
            }
        });
    }

    /// Connections to `port` inside the sandbox (`None`: inside every one that has no listener of its own) reach
    /// `address`.
    pub fn listen(&self, id: Option<&SandboxId>, port: u16, address: SocketAddr) {
        self.change(|state| state.listeners.insert((id.cloned(), port), address));
    }

    /// Makes connections as an engine does that has no socket to give.
    pub fn tunnel_connections(&self) {
        self.change(|state| state.tunnels = true);
    }

    /// Completes once `condition` holds for the host. Panics after ten real seconds: the test has failed.
    ///
    /// # Panics
    ///
    /// If the condition does not come true in time.
    pub async fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.world.changes.subscribe();
        let waiting = async {
            while !condition(self) {
                // The sender lives in `self`, so waiting cannot fail.
                let _ = changes.changed().await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(),
            "never came true: {what}"
        );
    }

    fn lock(&self) -> MutexGuard<'_, WorldState> {
        self.world.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world and wakes those who wait for a change.
    fn change<T>(&self, change: impl FnOnce(&mut WorldState) -> T) -> T {
        let result = change(&mut self.lock());
        self.world.changes.send_modify(|n| *n += 1);
        result
    }
}

impl WorldState {
    /// Nobody listens (the server is down) or nobody keeps up: recovery finds out.
    fn notify(&self, notice: Notice) {
        if let Some(sender) = &self.notices_sender {
            let _ = sender.try_send(notice);
        }
    }
}

impl FakeSandbox {
    fn new(spec: LaunchSpec, now: Uptime) -> Self {
        let disk_total_bytes = u64::from(spec.disk_mb) << 20;
        let counters = Counters {
            taken_at_usec: micros(now),
            cpu_usage_usec: 0,
            memory_current_bytes: 4 << 20,
            memory_reclaimable_bytes: 0,
            memory_file_bytes: 1 << 20,
            n_oom_kills: 0,
            n_pids: 1,
            disk_total_bytes,
            disk_available_bytes: disk_total_bytes.saturating_sub(1 << 20),
            more: Values::NONE,
        };
        Self { spec, shape: Shape::Running, counters, load_cpus: 0.0, ailment: None }
    }

    /// Adds up the CPU time used since the last reading.
    fn pass_time(&mut self, now: Uptime) {
        let elapsed_usec = micros(now).saturating_sub(self.counters.taken_at_usec);
        if self.shape == Shape::Running {
            let used = Duration::from_micros(elapsed_usec).mul_f64(self.load_cpus.max(0.0));
            self.counters.cpu_usage_usec += u64::try_from(used.as_micros()).unwrap_or(u64::MAX);
        }
        self.counters.taken_at_usec = micros(now);
    }
}

fn profile() -> EngineProfile {
    EngineProfile {
        engine: "fake",
        version: "1".to_owned(),
        isolation: Isolation::SharedKernel,
        can: Capabilities { oom_of_one_process: true, ..Capabilities::default() },
        lacking: vec![Lack {
            capability: "pressures",
            why: "there is no kernel".to_owned(),
            remedy: "use a real engine".to_owned(),
        }],
        envd_version: "0.5.0",
    }
}

fn micros(at: Uptime) -> u64 {
    u64::try_from(at.since(Uptime::ZERO).as_micros()).unwrap_or(u64::MAX)
}
