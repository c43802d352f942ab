use std::collections::BTreeMap;

use sandscope_model::{ExecutionId, Rootfs, TemplateId};
use sandscope_runtime::{ConnectError, FoundState, Runtime, RuntimeError};

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

fn host() -> (FakeRuntime, StepClock) {
    let clock = StepClock::new();
    (FakeRuntime::new(Arc::new(clock.clone())), clock)
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
    assert!(matches!(runtime.pause(&spec.id).await, Err(RuntimeError::Step { .. })));
    assert_eq!(runtime.shapes()[&spec.id], Shape::Paused);

    runtime.inject(Trigger::Nth(1), Fault::HaltBefore);
    runtime.resume(&spec.id).await.unwrap();
    let halted = runtime.clone();
    let id = spec.id.clone();
    let task = tokio::spawn(async move { halted.kill(&id).await });
    runtime.wait_until("the server halts", FakeRuntime::is_halted).await;
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
    assert!(matches!(runtime.connect(&spec.id, 80).await, Err(ConnectError::PortClosed)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    runtime.listen(None, 80, listener.local_addr().unwrap());
    runtime.connect(&spec.id, 80).await.unwrap();
    runtime.pause(&spec.id).await.unwrap();
    assert!(matches!(runtime.connect(&spec.id, 80).await, Err(ConnectError::NotRunning)));
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_runtime() {
    let (runtime, _) = host();
    let layer = BuildId::generate(&SeededEntropy::new(77));
    let mut seed = 100;
    let new_spec = || {
        seed += 1;
        spec(seed)
    };
    assert_eq!(crate::check_runtime_contract(&runtime, layer, new_spec).await, Ok(()));
    assert!(runtime.shapes().is_empty() && runtime.layers().is_empty());
}
