//! A driver that panics is followed by another; a part that cannot begin anew ends the server.

use std::time::Duration;

use sandscope_lifecycle::RequestError;
use sandscope_model::{EventType, KillReason, SandboxId, StateName};
use sandscope_store::StoreError;
use sandscope_tasks::TaskState;
use sandscope_testbed::{Fault, Op, Trigger};

use crate::faults::Change;
use crate::world::World;

/// Ends it, once it has a driver again.
fn end(world: &World, id: &SandboxId) {
    let ended = world.run(async {
        loop {
            match world.lifecycle.kill(world.team.id, id, KillReason::Request).await {
                Err(RequestError::Busy) => {
                    // sleep: the pause between two looks
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                other => break other,
            }
        }
    });
    assert!(matches!(ended, Ok(()) | Err(RequestError::NotFound)), "{ended:?}");
    world.assert_settled();
    assert_eq!(world.published(id).last(), Some(&EventType::Killed));
}

fn n_failed_drivers(world: &World) -> u64 {
    let drivers = world.tasks.statuses().into_iter().find(|status| status.name == "sandbox-drivers").unwrap();
    assert_eq!(drivers.state, TaskState::Running);
    drivers.n_restarts
}

#[test]
fn every_call_of_the_runtime_panics_once() {
    for change in Change::ALL {
        for fault in [Fault::PanicBefore, Fault::PanicAfter] {
            let world = World::new();
            let sandbox = change.prepare(&world);
            let n_operations = world.runtime.n_operations();
            world.runtime.inject(Trigger::Nth(0), fault);
            let answer = world.run(change.ask(&world, sandbox.as_deref()));
            let has_called = world.runtime.n_operations() > n_operations;
            let is_told = matches!(answer, Err(RequestError::Broken));
            assert!(
                is_told == has_called && answer.is_ok() != has_called,
                "{change:?} {fault:?}: {answer:?}"
            );
            assert_eq!(n_failed_drivers(&world), u64::from(has_called));
            world.runtime.heal();
            world.assert_settled();
            if let Some(sandbox) = &sandbox {
                end(&world, &sandbox.id);
            }
            // What was asked for is done all the same, where it was recorded that it was asked for.
            let is_done = !matches!(change, Change::Create | Change::Checkpoint) || answer.is_ok();
            let told: Vec<_> = world.log().iter().map(|event| event.event_type()).collect();
            assert_eq!(told.contains(&change.event()), is_done, "{change:?} {fault:?}: {told:?}");
            assert!(world.tasks.failure().is_none());
            // Its place is free again, and others are not hurt.
            world.create();
        }
    }
}

#[test]
fn an_exit_noticed_while_there_is_no_driver_is_told() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.inject(Trigger::Next(Op::Checkpoint), Fault::PanicBefore);
    let answer = world.run_still(world.lifecycle.checkpoint(&world.team, id, None));
    assert!(matches!(answer, Err(RequestError::Broken)), "{answer:?}");
    let answer = world.run_still(world.lifecycle.pause(world.team.id, id));
    assert!(matches!(answer, Err(RequestError::Busy)), "{answer:?}");
    assert!(world.runtime.run_out_of_memory(id));
    while world.published(id).last() != Some(&EventType::Killed) {
        // sleep: the pause between two looks
        world.run(async { tokio::time::sleep(Duration::from_millis(3)).await });
    }
    assert_eq!(world.last_event(id).kill_reason(), Some(KillReason::Oom));
    world.assert_settled();
}

#[test]
fn an_operation_of_the_store_that_panics_changes_nothing() {
    let world = World::new();
    let id = &world.create().id;
    world.faults.panic_in_operation();
    let answer = world.run_still(world.lifecycle.pause(world.team.id, id));
    assert!(matches!(answer, Err(RequestError::Store(StoreError::Broken(_)))), "{answer:?}");
    assert_eq!(world.row(id).unwrap().state.name(), StateName::Running);
    world.pause(id);
    world.assert_settled();
    assert_eq!(world.published(id), [EventType::Created, EventType::Paused]);
}

#[test]
fn a_runtime_that_says_nothing_any_more_ends_the_server() {
    let world = World::new();
    world.runtime.fall_silent();
    let failure = world.run_still(world.tasks.failed());
    assert_eq!(failure.to_string(), "the task notices failed for good: it ended although nobody stopped it");
    assert_eq!(world.tasks.in_trouble(), ["notices"]);
}
