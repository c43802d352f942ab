//! What happened while the server was down is found and told.

use std::time::Duration;

use sandscope_engine::LaunchSpec;
use sandscope_lifecycle::StartError;
use sandscope_model::{
    Cause, Clock, Entropy, EventType, ExecutionId, Exit, ExitStatus, KillReason, OnTimeout, Rootfs,
    SandboxId, StateName, TemplateId,
};
use sandscope_store::{FaultPlan, fault};
use sandscope_testbed::{SeededEntropy, Shape};

use crate::world::World;

use EventType::{Created, Killed, Paused};

#[test]
fn sandboxes_outlive_the_server() {
    let mut world = World::new();
    let (running, paused) = (world.create(), world.create());
    world.pause(&paused.id);
    let before = world.log();
    world.crash();
    assert_eq!(world.log(), before);
    world.assert_settled();
    let found = world.lifecycle.sandbox(&running.id).unwrap();
    assert_eq!(found.end_at, running.end_at);
    world.run(world.lifecycle.resume(&world.team, &paused.id, Duration::from_secs(9))).unwrap();
    world.assert_settled();
}

#[test]
fn after_a_drain_they_are_found_again_too() {
    let mut world = World::new();
    let id = world.create().id.clone();
    world.run_still(world.lifecycle.drain());
    world.crash();
    world.assert_settled();
    assert!(world.lifecycle.sandbox(&id).is_some());
    assert_eq!(world.published(&id), [Created]);
}

#[test]
fn a_death_while_the_server_was_down_is_told_with_its_true_exit() {
    let exit = |status, cause| Exit { status, cause: Some(cause), n_oom_kills: Some(2), ..Exit::default() };
    let exits = [
        (exit(Some(ExitStatus::Code(0)), Cause::AgentExited), KillReason::Crashed),
        (exit(Some(ExitStatus::Signal(9)), Cause::OutOfMemory), KillReason::Oom),
        (exit(Some(ExitStatus::Signal(9)), Cause::AgentSignalled), KillReason::Crashed),
        (exit(None, Cause::SupervisorKilled), KillReason::Crashed),
        (exit(None, Cause::ControlGroupsRemoved), KillReason::Crashed),
        (exit(None, Cause::HostRestarted), KillReason::HostRestart),
        (exit(None, Cause::DiskMissing), KillReason::BaseTemplateMissing),
    ];
    for (exit, reason) in exits {
        let mut world = World::new();
        let id = world.create().id.clone();
        world.stop();
        assert!(world.runtime.exit(&id, exit.clone()));
        world.start().unwrap();
        world.assert_settled();
        let event = world.last_event(&id);
        assert_eq!(
            (event.kill_reason(), event.fact.death().unwrap().exit.clone()),
            (Some(reason), Some(exit))
        );
        assert_eq!(world.published(&id), [Created, Killed]);
    }
}

#[test]
fn a_restart_of_the_host_ends_everything_on_it() {
    for vanished in [false, true] {
        let mut world = World::new();
        let (running, paused) = (world.create().id.clone(), world.create().id.clone());
        world.pause(&paused);
        world.stop();
        world.runtime.restart_host();
        if vanished {
            world.runtime.vanish(&running);
            world.runtime.vanish(&paused);
        }
        world.start().unwrap();
        world.assert_settled();
        assert_eq!(world.published(&running), [Created, Killed]);
        assert_eq!(world.published(&paused), [Created, Paused, Killed]);
        let event = world.last_event(&running);
        let cause = if vanished { Cause::Vanished } else { Cause::HostRestarted };
        assert_eq!(event.kill_reason(), Some(cause.reason()));
        assert_eq!(event.fact.death().unwrap().exit, Some(Exit::of_cause(cause)));
    }
}

#[test]
fn what_is_not_as_recorded_is_put_right() {
    let mut world = World::new();
    let (running, paused) = (world.create().id.clone(), world.create().id.clone());
    world.pause(&paused);
    world.stop();
    world.runtime.set_shape(&running, Shape::Paused);
    world.runtime.set_shape(&paused, Shape::Running);
    world.start().unwrap();
    world.assert_settled();
    assert_eq!(world.published(&running), [Created]);
    assert_eq!(world.published(&paused), [Created, Paused]);
}

#[test]
fn what_nobody_owns_is_removed_without_a_word() {
    let mut world = World::new();
    let known = world.create().id.clone();
    world.stop();
    let entropy: &dyn Entropy = &SeededEntropy::new(99);
    for shape in [Shape::Running, Shape::Paused, Shape::Dead(Exit::default())] {
        let stray = LaunchSpec {
            id: SandboxId::generate(entropy),
            execution_id: ExecutionId::generate(entropy),
            template_id: TemplateId::generate(entropy),
            rootfs: Rootfs::Host,
            vcpu_count: 1,
            memory_mb: 1,
            disk_mb: 1,
            env_vars: Default::default(),
            access_token: None,
        };
        world.runtime.plant(stray, shape);
    }
    world.start().unwrap();
    world.assert_settled();
    assert_eq!(world.runtime.shapes().keys().collect::<Vec<_>>(), [&known]);
    assert_eq!(world.log().len(), 1);
}

#[test]
fn a_time_that_was_up_while_the_server_was_down_is_ended_at_once() {
    let mut world = World::new();
    let limited = |on_timeout| {
        world.create_with(|request| {
            request.timeout = Duration::from_secs(5);
            request.on_timeout = on_timeout;
        })
    };
    let (killed, paused) = (limited(OnTimeout::Kill).id.clone(), limited(OnTimeout::Pause).id.clone());
    world.stop();
    world.clock.advance(Duration::from_secs(3600));
    world.start().unwrap();
    world.wait_still("both are ended", async || {
        let is_paused = world.lifecycle.sandbox(&paused).unwrap().state.name() == StateName::Paused;
        is_paused && world.lifecycle.sandbox(&killed).is_none()
    });
    world.assert_settled();
    assert_eq!(world.last_event(&killed).kill_reason(), Some(KillReason::Timeout));
    assert!(world.last_event(&paused).timestamp <= world.clock.now());
}

#[test]
fn what_cannot_be_recorded_at_the_start_keeps_the_server_from_serving() {
    let mut world = World::new();
    let id = world.create().id.clone();
    world.stop();
    world.runtime.run_out_of_memory(&id);
    let full = FaultPlan::none();
    full.fail_always(Some(fault::Fault::Full));
    assert!(matches!(world.start_with(full), Err(StartError::Store(_))));
    world.crash();
    world.assert_settled();
    assert_eq!(world.last_event(&id).kill_reason(), Some(KillReason::Oom));
}

#[test]
fn places_in_the_limit_are_found_again() {
    let mut world = World::with_limit(2);
    let (_running, paused) = (world.create(), world.create().id.clone());
    world.pause(&paused);
    world.create();
    world.crash();
    let resumed = world.run(world.lifecycle.resume(&world.team, &paused, Duration::from_secs(60)));
    assert!(matches!(resumed, Err(sandscope_lifecycle::RequestError::LimitReached { limit: 2 })));
}
