use async_trait::async_trait;
use sandscope_model::{
    BuildId, Counters, CpuDetails, Details, DiskDetails, Exit, ExitStatus, MemoryDetails, Pressures,
    ProcessReading, Rootfs, SandboxId, Values,
};
use sandscope_runtime::{
    Ailment, Capabilities, ConnectError, Found, FoundState, LaunchSpec, Notice, Runtime, RuntimeError, Stray,
    Survey,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{FakeRuntime, FakeSandbox, Fault, Op, Shape, WorldState};

/// What a killed sandbox's first process ends with.
const KILLED: ExitStatus = ExitStatus::Signal(9);

/// What every captured layer weighs.
const LAYER_BYTES: u64 = 4096;

impl FakeRuntime {
    /// Runs `effect` as the operation `op`, with whatever fault is planned for it.
    async fn operate<T>(
        &self,
        op: Op,
        effect: impl FnOnce(&mut WorldState) -> Result<T, RuntimeError> + Send,
    ) -> Result<T, RuntimeError> {
        self.live().await;
        let fault = self.change(|state| state.faults.begin(op));
        self.pass_hold(op).await;
        match fault {
            None => self.change(effect),
            Some(Fault::Fail) => Err(planned()),
            Some(Fault::FailAfterEffect) => self.change(effect).and_then(|_| Err(planned())),
            Some(Fault::PanicBefore) => panic!("planned, before the operation"),
            Some(Fault::PanicAfter) => {
                let _ = self.change(effect);
                panic!("planned, after the operation");
            }
            Some(Fault::HaltBefore) => self.halt().await,
            Some(Fault::HaltAfter) => {
                let _ = self.change(effect);
                self.halt().await
            }
        }
    }

    /// Returns if this handle's server is alive, and never otherwise.
    async fn live(&self) {
        let dead = {
            let state = self.lock();
            state.halted || state.epoch != self.epoch
        };
        if dead {
            std::future::pending::<()>().await;
        }
    }

    async fn pass_hold(&self, op: Op) {
        if !self.lock().faults.is_held(op) {
            return;
        }
        let mut changes = self.world.changes.subscribe();
        self.change(|state| state.faults.enter(op));
        while self.lock().faults.is_held(op) {
            // The sender lives in `self`, so waiting cannot fail.
            let _ = changes.changed().await;
        }
        self.change(|state| state.faults.leave(op));
        self.live().await;
    }

    async fn halt<T>(&self) -> T {
        self.change(|state| state.halted = true);
        std::future::pending().await
    }
}

fn planned() -> RuntimeError {
    RuntimeError::Step { step: "planned fault", source: std::io::Error::other("planned fault") }
}

impl WorldState {
    fn alive(&mut self, id: &SandboxId) -> Result<&mut FakeSandbox, RuntimeError> {
        self.sandboxes
            .get_mut(id)
            .filter(|sandbox| !matches!(sandbox.shape, Shape::Dead(_)))
            .ok_or(RuntimeError::NotFound)
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "fake", envd_version: "0.5.0" }
    }

    async fn create(&self, spec: &LaunchSpec) -> Result<(), RuntimeError> {
        let spec = spec.clone();
        let now = self.world.clock.now();
        self.operate(Op::Create, move |state| {
            if let Rootfs::Snapshot(build) = spec.rootfs
                && !state.layers.contains(&build)
            {
                return Err(RuntimeError::SnapshotMissing);
            }
            state.sandboxes.entry(spec.id.clone()).or_insert_with(|| FakeSandbox::new(spec, now));
            Ok(())
        })
        .await
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let now = self.world.clock.now();
        self.operate(Op::Pause, |state| {
            let sandbox = state.alive(id)?;
            sandbox.pass_time(now);
            sandbox.shape = Shape::Paused;
            Ok(())
        })
        .await
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let now = self.world.clock.now();
        self.operate(Op::Resume, |state| {
            let sandbox = state.alive(id)?;
            sandbox.pass_time(now);
            sandbox.shape = Shape::Running;
            Ok(())
        })
        .await
    }

    async fn checkpoint(&self, id: &SandboxId, build: BuildId) -> Result<u64, RuntimeError> {
        self.operate(Op::Checkpoint, |state| {
            state.alive(id)?;
            state.layers.insert(build);
            Ok(LAYER_BYTES)
        })
        .await
    }

    async fn delete_snapshot(&self, build: BuildId) -> Result<(), RuntimeError> {
        self.operate(Op::DeleteSnapshot, |state| {
            state.layers.remove(&build);
            Ok(())
        })
        .await
    }

    async fn kill(&self, id: &SandboxId) -> Result<Option<Exit>, RuntimeError> {
        let now = self.world.clock.now();
        self.operate(Op::Kill, |state| {
            let Some(mut sandbox) = state.sandboxes.remove(id) else { return Ok(None) };
            sandbox.pass_time(now);
            Ok(Some(match sandbox.shape {
                Shape::Dead(exit) => Exit { cause: None, ..exit },
                Shape::Running | Shape::Paused => Exit {
                    status: Some(KILLED),
                    cause: None,
                    n_oom_kills: Some(sandbox.counters.n_oom_kills),
                    peak_memory_bytes: Some(sandbox.counters.memory_current_bytes),
                    cpu_time_usec: Some(sandbox.counters.cpu_usage_usec),
                },
            }))
        })
        .await
    }

    async fn recover(&self) -> Result<Vec<Found>, RuntimeError> {
        self.live().await;
        let found = self.shapes().into_iter().map(|(id, shape)| {
            let state = match shape {
                Shape::Running => FoundState::Running,
                Shape::Paused => FoundState::Paused,
                Shape::Dead(exit) => FoundState::Dead(exit),
            };
            Found { id, state }
        });
        Ok(found.collect())
    }

    fn take_notices(&self) -> Option<mpsc::Receiver<Notice>> {
        let mut state = self.lock();
        if state.epoch == self.epoch { state.notices_receiver.take() } else { None }
    }

    async fn check(&self, id: &SandboxId) -> Result<(), Ailment> {
        self.live().await;
        let state = self.lock();
        let asked = state.sandboxes.get(id).filter(|sandbox| sandbox.shape == Shape::Running);
        asked.and_then(|sandbox| sandbox.ailment).map_or(Ok(()), Err)
    }

    async fn survey(&self) -> Result<Survey, RuntimeError> {
        self.live().await;
        let state = self.lock();
        Ok(Survey {
            sandboxes: state.sandboxes.keys().cloned().collect(),
            layers: state.layers.iter().copied().collect(),
            strays: state.strays.iter().cloned().collect(),
        })
    }

    async fn remove_stray(&self, stray: &Stray) -> Result<(), RuntimeError> {
        self.live().await;
        self.change(|state| state.strays.remove(stray));
        Ok(())
    }

    fn running(&self) -> Vec<SandboxId> {
        let state = self.lock();
        let running = state.sandboxes.values().filter(|sandbox| sandbox.shape == Shape::Running);
        running.map(|sandbox| sandbox.spec.id.clone()).collect()
    }

    fn counters(&self, id: &SandboxId) -> Result<Counters, RuntimeError> {
        let now = self.world.clock.now();
        let mut state = self.lock();
        if let Some(n) = state.faults.n_poisoned_readings.checked_sub(1) {
            state.faults.n_poisoned_readings = n;
            panic!("planned, in a reading");
        }
        let sandbox = state.alive(id)?;
        sandbox.pass_time(now);
        Ok(Counters { more: Values::NONE, ..sandbox.counters.clone() })
    }

    fn more_counters(&self, id: &SandboxId) -> Result<Values, RuntimeError> {
        Ok(self.lock().alive(id)?.counters.more)
    }

    fn details(&self, id: &SandboxId) -> Result<Details, RuntimeError> {
        let counters = self.counters(id)?;
        Ok(Details {
            cpu: CpuDetails { usage_usec: Some(counters.cpu_usage_usec), ..CpuDetails::default() },
            memory: MemoryDetails {
                current_bytes: Some(counters.memory_current_bytes),
                file_bytes: Some(counters.memory_file_bytes),
                n_oom_kills: Some(counters.n_oom_kills),
                ..MemoryDetails::default()
            },
            disk: DiskDetails {
                total_bytes: counters.disk_total_bytes,
                available_bytes: counters.disk_available_bytes,
                ..DiskDetails::default()
            },
            n_pids: Some(counters.n_pids),
            ..Details::default()
        })
    }

    fn pressures(&self, id: &SandboxId) -> Result<Pressures, RuntimeError> {
        self.counters(id).map(|_| Pressures::default())
    }

    fn processes(&self, id: &SandboxId) -> Result<Vec<ProcessReading>, RuntimeError> {
        let counters = self.counters(id)?;
        Ok(vec![ProcessReading {
            host_pid: 4000,
            started_ticks: 1,
            pid: 1,
            name: b"agent".to_vec(),
            state: 'S',
            n_threads: 1,
            cpu_usec: counters.cpu_usage_usec,
            rss_bytes: counters.memory_current_bytes,
        }])
    }

    async fn connect(&self, id: &SandboxId, port: u16) -> Result<TcpStream, ConnectError> {
        self.live().await;
        let address = {
            let state = self.lock();
            if !state.sandboxes.get(id).is_some_and(|sandbox| sandbox.shape == Shape::Running) {
                return Err(ConnectError::NotRunning);
            }
            let own = state.listeners.get(&(Some(id.clone()), port));
            own.or_else(|| state.listeners.get(&(None, port))).copied().ok_or(ConnectError::PortClosed)?
        };
        TcpStream::connect(address).await.map_err(|_| ConnectError::PortClosed)
    }
}
