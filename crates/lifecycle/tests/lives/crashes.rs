//! The server is killed at every step of every transition and started again: each owed event is told exactly once.

use sandscope_model::EventType;
use sandscope_store::fault;
use sandscope_testbed::{Fault, Trigger};

use crate::faults::Change;
use crate::world::World;

/// What the log says about the sandbox after the change, if it was carried out.
fn expected(change: Change) -> Vec<EventType> {
    use EventType::{Created, Paused};
    let mut told = match change {
        Change::Create => Vec::new(),
        Change::Resume | Change::KillPaused => vec![Created, Paused],
        _ => vec![Created],
    };
    told.push(change.event());
    told
}

#[test]
fn killed_before_and_after_every_call_of_the_runtime() {
    for change in Change::ALL {
        for fault in [Fault::HaltBefore, Fault::HaltAfter] {
            let mut world = World::new();
            let sandbox = change.prepare(&world);
            world.runtime.inject(Trigger::Nth(0), fault);
            let answer = world.run_until_halt(change.ask(&world, sandbox.as_deref()));
            let has_called = !matches!(change, Change::Extend | Change::SetTimeout);
            assert_eq!(answer.is_none(), has_called, "{change:?} {fault:?}");
            world.crash();
            world.assert_settled();
            match sandbox {
                // Nobody was told of it.
                None => assert!(world.log().is_empty() && world.runtime.shapes().is_empty()),
                // A checkpoint leaves no intent: nobody was promised one.
                Some(sandbox) if change == Change::Checkpoint => {
                    assert_eq!(world.published(&sandbox.id), [EventType::Created]);
                }
                Some(sandbox) => {
                    assert_eq!(world.published(&sandbox.id), expected(change), "{change:?} {fault:?}");
                }
            }
            world.create();
        }
    }
}

#[test]
fn killed_while_the_result_could_not_be_recorded() {
    for change in Change::ALL {
        let mut world = World::new();
        let sandbox = change.prepare(&world);
        let n = world.faults.n_commits();
        for commit in n + 2..n + 100 {
            world.faults.fail_commit(commit, fault::Fault::Io);
        }
        let answer = world.run_still(change.ask(&world, sandbox.as_deref()));
        let one_commit = matches!(change, Change::Extend | Change::SetTimeout | Change::Checkpoint);
        assert_eq!(answer.is_ok(), one_commit, "{change:?}: {answer:?}");
        world.crash();
        world.assert_settled();
        match sandbox {
            None => assert!(world.log().is_empty() && world.runtime.shapes().is_empty()),
            Some(sandbox) => assert_eq!(world.published(&sandbox.id), expected(change), "{change:?}"),
        }
    }
}

#[test]
fn killed_after_the_answer() {
    for change in Change::ALL {
        let mut world = World::new();
        let sandbox = change.prepare(&world);
        world.run_still(change.ask(&world, sandbox.as_deref())).unwrap();
        let before = world.log();
        world.crash();
        world.assert_settled();
        assert_eq!(world.log(), before, "{change:?}: nothing is owed any more");
    }
}

#[test]
fn killed_again_during_every_step_of_the_recovery() {
    for change in [Change::Create, Change::Pause, Change::Resume, Change::KillRunning, Change::KillPaused] {
        for first in [Fault::HaltBefore, Fault::HaltAfter] {
            for second in [Fault::HaltBefore, Fault::HaltAfter] {
                let mut world = World::new();
                let sandbox = change.prepare(&world);
                world.runtime.inject(Trigger::Nth(0), first);
                assert!(world.run_until_halt(change.ask(&world, sandbox.as_deref())).is_none());
                world.stop();
                world.start_halting(second);
                world.crash();
                world.assert_settled();
                match sandbox {
                    None => assert!(world.log().is_empty()),
                    Some(sandbox) => {
                        let told = world.published(&sandbox.id);
                        assert_eq!(told, expected(change), "{change:?} {first:?} {second:?}");
                    }
                }
            }
        }
    }
}
