//! What the server may ask of the fake.

use async_trait::async_trait;
use sandscope_engine::{
    Ailment, Engine, EngineError, EngineProfile, Found, FoundState, LaunchSpec, Notice, Stray, Survey,
};
use sandscope_model::{BuildId, Exit, ExitStatus, Rootfs, SandboxId};
use tokio::sync::mpsc;

use super::{FakeEngine, FakeSandbox, Fault, Op, Question, Shape, WorldState};

/// What a killed sandbox's first process ends with.
const KILLED: ExitStatus = ExitStatus::Signal(9);

/// What every captured layer weighs.
const LAYER_BYTES: u64 = 4096;

impl FakeEngine {
    /// Runs `effect` as the operation `op`, with whatever fault is planned for it.
    async fn operate<T>(
        &self,
        op: Op,
        effect: impl FnOnce(&mut WorldState) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        self.live().await;
        let fault = self.change(|state| state.faults.begin(op));
        self.pass_hold(op).await;
        match fault {
            None => self.change(effect),
            Some(Fault::Fail) => Err(planned()),
            Some(Fault::Unsupported) => Err(EngineError::Unsupported(op.name())),
            Some(Fault::Full) => Err(EngineError::NoCapacity("planned".to_owned())),
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
    pub(super) async fn live(&self) {
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

fn planned() -> EngineError {
    EngineError::Step { step: "planned fault", source: std::io::Error::other("planned fault") }
}

impl WorldState {
    pub(super) fn alive(&mut self, id: &SandboxId) -> Result<&mut FakeSandbox, EngineError> {
        self.sandboxes
            .get_mut(id)
            .filter(|sandbox| !matches!(sandbox.shape, Shape::Dead(_)))
            .ok_or(EngineError::NotFound)
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn profile(&self) -> &EngineProfile {
        &self.world.profile
    }

    async fn create(&self, spec: &LaunchSpec) -> Result<(), EngineError> {
        let spec = spec.clone();
        let now = self.world.clock.uptime();
        self.operate(Op::Create, move |state| {
            if let Rootfs::Snapshot(build) = spec.rootfs
                && !state.layers.contains(&build)
            {
                return Err(EngineError::SnapshotMissing);
            }
            state.sandboxes.entry(spec.id.clone()).or_insert_with(|| FakeSandbox::new(spec, now));
            Ok(())
        })
        .await
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), EngineError> {
        let now = self.world.clock.uptime();
        self.operate(Op::Pause, |state| {
            let sandbox = state.alive(id)?;
            sandbox.pass_time(now);
            sandbox.shape = Shape::Paused;
            Ok(())
        })
        .await
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), EngineError> {
        let now = self.world.clock.uptime();
        self.operate(Op::Resume, |state| {
            let sandbox = state.alive(id)?;
            sandbox.pass_time(now);
            sandbox.shape = Shape::Running;
            Ok(())
        })
        .await
    }

    async fn capture(&self, id: &SandboxId, build: BuildId) -> Result<u64, EngineError> {
        self.operate(Op::Checkpoint, |state| {
            state.alive(id)?;
            state.layers.insert(build);
            Ok(LAYER_BYTES)
        })
        .await
    }

    async fn remove_layer(&self, build: BuildId) -> Result<(), EngineError> {
        self.operate(Op::DeleteSnapshot, |state| {
            state.layers.remove(&build);
            Ok(())
        })
        .await
    }

    async fn kill(&self, id: &SandboxId) -> Result<Option<Exit>, EngineError> {
        let now = self.world.clock.uptime();
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

    async fn recover(&self) -> Result<Vec<Found>, EngineError> {
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

    async fn survey(&self) -> Result<Survey, EngineError> {
        self.live().await;
        let mut state = self.lock();
        state.faults.ask(Question::Survey);
        Ok(Survey {
            sandboxes: state.sandboxes.keys().cloned().collect(),
            layers: state.layers.iter().copied().collect(),
            strays: state.strays.iter().cloned().collect(),
        })
    }

    async fn remove(&self, stray: &Stray) -> Result<(), EngineError> {
        self.live().await;
        if stray.engine != self.world.profile.engine {
            return Err(EngineError::Unsupported("removing what another engine left"));
        }
        self.change(|state| state.strays.remove(stray));
        Ok(())
    }
}
