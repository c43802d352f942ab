//! Who looks after agents and host fails, is seen, and looks after them again.

use std::time::Duration;

use sandscope_engine::Ailment;
use sandscope_model::{BuildId, Cause, KillReason};
use sandscope_tasks::{TaskState, TaskStatus};
use sandscope_testbed::{Question, SeededEntropy};

use crate::reconciling::let_it_look;
use crate::world::{UPKEEP, World};

fn status(world: &World, name: &str) -> TaskStatus {
    world.tasks.statuses().into_iter().find(|status| status.name == name).unwrap()
}

/// Waits until the task has failed at `question`, then lets it start again.
fn fail_and_start_again(world: &World, name: &str, question: Question) {
    world.wait_still("it has failed", async || world.tasks.in_trouble() == [name]);
    let failed = status(world, name);
    assert_eq!((failed.state, failed.n_restarts), (TaskState::Waiting, 0));
    let why = format!("panicked: planned, at the question {question:?}");
    assert_eq!(failed.last_exit.unwrap().failure, Some(why));
    world.clock.advance(Duration::from_secs(1));
    world.wait_still("it runs again", async || status(world, name).state == TaskState::Running);
    assert_eq!(status(world, name).n_restarts, 1);
    assert!(world.tasks.in_trouble().is_empty());
}

#[test]
fn a_look_at_agents_that_panics_does_not_forget_the_suspected_and_finds_the_silent_again() {
    let world = World::new();
    let (silent, suspected) = (&world.create().id, &world.create().id);
    world.runtime.ail(silent, Some(Ailment::Silent));
    world.clock.advance(UPKEEP.health.interval);
    world.let_work();
    world.runtime.ail(suspected, Some(Ailment::LimitsLost));
    world.runtime.poison(Question::Running, 1);
    world.lifecycle.suspect(suspected);
    fail_and_start_again(&world, "agent-health", Question::Running);
    // Not only with all others, an interval later.
    world.wait_still("it is ended", async || world.lifecycle.sandbox(suspected).is_none());
    let death = world.last_event(suspected).fact.death().cloned().unwrap();
    assert_eq!(death.exit.and_then(|exit| exit.cause), Some(Cause::ControlGroupsRemoved));
    assert!(world.lifecycle.sandbox(silent).is_some());
    world.clock.advance(UPKEEP.health.interval);
    world.wait("the silent one is given up", async || world.lifecycle.sandbox(silent).is_none());
    assert_eq!(world.last_event(silent).kill_reason(), Some(KillReason::AgentLost));
    world.assert_settled();
}

#[test]
fn a_look_at_the_host_that_panics_is_followed_by_others_that_put_right_what_was_seen() {
    let world = World::new();
    let kept = world.create().id.clone();
    world.runtime.plant_layer(BuildId::generate(&SeededEntropy::new(97)));
    world.clock.advance(UPKEEP.reconcile_every);
    world.wait_still("it is seen", async || world.reconciled.borrow().n_open == 1);
    world.let_work();
    world.runtime.poison(Question::Survey, 1);
    // The look that would put it right.
    world.clock.advance(UPKEEP.grace);
    fail_and_start_again(&world, "reconciler", Question::Survey);
    world.let_work();
    assert_eq!(world.runtime.layers().len(), 1);
    let_it_look(&world);
    assert!(world.runtime.layers().is_empty());
    let reconciled = world.reconciled.borrow().clone();
    assert_eq!((reconciled.n_rounds, reconciled.n_settled), (3, 1));
    assert_eq!(world.runtime.shapes().keys().collect::<Vec<_>>(), [&kept]);
    world.assert_settled();
}
