use std::collections::BTreeMap;

use sandscope_engine::{Dial, DialFailure, Engine, EngineError, FoundState, Readings};
use sandscope_model::{ExecutionId, Rootfs, TemplateId};

use super::*;
use crate::{SeededEntropy, StepClock};

fn spec(seed: u64) -> LaunchSpec {
    let entropy = SeededEntropy::new(seed);
    LaunchSpec {
        id: SandboxId::generate(&entropy),
        execution_id: ExecutionId::generate(&entropy),
        template_id: TemplateId::generate(&entropy),
        rootfs: Rootfs::Host,
        vcpu_count: 2,
        memory_mb: 512,
        disk_mb: 1024,
        env_vars: BTreeMap::new(),
        access_token: None,
    }
}

fn host() -> (FakeEngine, StepClock) {
    let clock = StepClock::new();
    (FakeEngine::new(Arc::new(clock.clone())), clock)
}

#[tokio::test]
async fn cpu_time_passes_only_while_it_runs() {
    let (runtime, clock) = host();
    let spec = spec(1);
    runtime.create(&spec).await.unwrap();
    runtime.set_load(&spec.id, 0.5);
    clock.advance(Duration::from_secs(10));
    runtime.pause(&spec.id).await.unwrap();
    clock.advance(Duration::from_secs(100));
    assert_eq!(runtime.running(), []);
    runtime.resume(&spec.id).await.unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(runtime.counters(&spec.id).unwrap().cpu_usage_usec, 6_000_000);
}

#[tokio::test]
async fn a_sandbox_survives_the_server_and_its_death_meanwhile_is_found() {
    let (runtime, _) = host();
    let (first, second) = (spec(1), spec(2));
    runtime.create(&first).await.unwrap();
    runtime.create(&second).await.unwrap();
    runtime.pause(&second.id).await.unwrap();
    drop(runtime.take_notices());
    let exit = Exit { status: Some(ExitStatus::Code(3)), ..Exit::default() };
    assert!(runtime.exit(&first.id, exit.clone()));
    let next = runtime.next_life();
    let found: BTreeMap<_, _> =
        next.recover().await.unwrap().into_iter().map(|found| (found.id, found.state)).collect();
    assert_eq!(found[&first.id], FoundState::Dead(Exit { cause: exit.plain_cause(), ..exit.clone() }));
    assert_eq!(found[&second.id], FoundState::Paused);
    assert_eq!(next.kill(&first.id).await.unwrap(), Some(exit));
    assert_eq!(next.kill(&first.id).await.unwrap(), None);
}

#[tokio::test]
async fn faults_meet_the_operation_they_were_planned_for() {
    let (runtime, _) = host();
    let spec = spec(1);
    runtime.inject(Trigger::Next(Op::Pause), Fault::FailAfterEffect);
    runtime.create(&spec).await.unwrap();
    assert!(matches!(runtime.pause(&spec.id).await, Err(EngineError::Step { .. })));
    assert_eq!(runtime.shapes()[&spec.id], Shape::Paused);

    runtime.inject(Trigger::Nth(1), Fault::HaltBefore);
    runtime.resume(&spec.id).await.unwrap();
    let halted = runtime.clone();
    let id = spec.id.clone();
    let task = tokio::spawn(async move { halted.kill(&id).await });
    runtime.wait_until("the server halts", FakeEngine::is_halted).await;
    assert!(!task.is_finished());
    assert_eq!(runtime.shapes()[&spec.id], Shape::Running);
    runtime.next_life().kill(&spec.id).await.unwrap();
    assert!(!task.is_finished(), "a dead server's call must not return");
    task.abort();
}

#[tokio::test]
async fn a_held_operation_waits_for_its_release() {
    let (runtime, _) = host();
    let spec = spec(1);
    runtime.hold(Op::Create);
    let creating = tokio::spawn({
        let (runtime, spec) = (runtime.clone(), spec.clone());
        async move { runtime.create(&spec).await }
    });
    runtime.wait_held(Op::Create).await;
    assert!(runtime.shapes().is_empty());
    runtime.release(Op::Create);
    creating.await.unwrap().unwrap();
    assert_eq!(runtime.shapes()[&spec.id], Shape::Running);
}

#[tokio::test]
async fn connections_reach_the_listener_of_a_running_sandbox_only() {
    let (runtime, _) = host();
    let spec = spec(1);
    runtime.create(&spec).await.unwrap();
    assert!(matches!(runtime.dial(&spec.id, 80).await, Err(DialFailure::PortClosed)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    runtime.listen(None, 80, listener.local_addr().unwrap());
    runtime.dial(&spec.id, 80).await.unwrap();
    runtime.pause(&spec.id).await.unwrap();
    assert!(matches!(runtime.dial(&spec.id, 80).await, Err(DialFailure::NotRunning)));
}

/// The fake as the contract's subject.
struct FakeHost {
    clock: StepClock,
    runtime: FakeEngine,
    has_started: bool,
    seed: u64,
}

#[async_trait::async_trait]
impl crate::Subject for FakeHost {
    type Engine = FakeEngine;

    async fn start(&mut self) -> FakeEngine {
        if self.has_started {
            self.runtime = self.runtime.next_life();
        }
        self.has_started = true;
        self.runtime.clone()
    }

    async fn stop(&mut self, _: FakeEngine) {}

    fn spec(&mut self) -> LaunchSpec {
        self.seed += 1;
        spec(self.seed)
    }

    fn layer(&mut self) -> BuildId {
        self.seed += 1;
        BuildId::generate(&SeededEntropy::new(self.seed))
    }

    async fn keep_busy(&mut self, _: &FakeEngine, id: &SandboxId) {
        self.runtime.set_load(id, 1.0);
    }

    async fn pass_time(&mut self) {
        self.clock.advance(Duration::from_millis(100));
    }

    async fn end_first_process(&mut self, id: &SandboxId) {
        let exit = Exit { status: Some(ExitStatus::Signal(9)), ..Exit::default() };
        assert!(self.runtime.exit(id, exit));
    }

    async fn leave_behind(&mut self) -> SandboxId {
        let id = self.spec().id;
        let (name, sandbox) = (id.to_string(), Some(id.clone()));
        self.runtime.stray(Stray { engine: "fake", kind: "directory", name, sandbox });
        id
    }

    async fn left_of(&mut self, id: &SandboxId) -> Vec<String> {
        let shapes = self.runtime.shapes();
        let shape = shapes.get(id).map(|shape| format!("{shape:?}"));
        let strays = self.runtime.strays().into_iter().filter(|stray| stray.sandbox.as_ref() == Some(id));
        shape.into_iter().chain(strays.map(|stray| stray.to_string())).collect()
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_engine() {
    let (runtime, clock) = host();
    let agent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    runtime.listen(None, sandscope_agent_protocol::AGENT_PORT, agent.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = agent.accept().await {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let _request = stream.read(&mut [0; 1024]).await;
            let _gone = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    for tunnels in [false, true] {
        if tunnels {
            runtime.tunnel_connections();
        }
        let mut subject =
            FakeHost { clock: clock.clone(), runtime: runtime.next_life(), has_started: false, seed: 100 };
        assert_eq!(crate::check_engine_contract(&mut subject).await, Ok(()));
        assert!(runtime.shapes().is_empty() && runtime.layers().is_empty());
    }
}
