use std::time::Duration;

use sandscope_model::{Clock, EventType, KillReason, OnTimeout, StateName};
use sandscope_testbed::{Fault, Op, Trigger};

use crate::world::{World, moved_to};

use EventType::{Created, Killed, Paused, Updated};

#[test]
fn the_time_is_up_when_it_is_up_and_not_before() {
    let world = World::new();
    let sandbox = world.create_with(|request| request.timeout = Duration::from_secs(60));
    let left = sandbox.end_at.duration_since(world.clock.now());
    world.clock.advance(Duration::try_from(left).unwrap() - Duration::from_millis(1));
    world.run_still(tokio::task::yield_now());
    assert!(world.lifecycle.sandbox(&sandbox.id).is_some());
    world.clock.advance(Duration::from_millis(1));
    world.wait_still("it is gone", async || world.lifecycle.sandbox(&sandbox.id).is_none());
    let event = world.last_event(&sandbox.id);
    assert_eq!(event.kill_reason(), Some(KillReason::Timeout));
    assert_eq!(event.timestamp, sandbox.end_at);
}

#[test]
fn a_sandbox_may_be_paused_when_its_time_is_up() {
    let world = World::new();
    let sandbox = world.create_with(|request| {
        request.timeout = Duration::from_secs(60);
        request.on_timeout = OnTimeout::Pause;
    });
    world.clock.advance(Duration::from_secs(61));
    world.wait_still("it is paused", async || {
        world.lifecycle.sandbox(&sandbox.id).unwrap().state.name() == StateName::Paused
    });
    // Time does not pass for a paused sandbox.
    world.clock.advance(Duration::from_secs(24 * 3600));
    world.assert_settled();
    assert_eq!(world.published(&sandbox.id), [Created, Paused]);
}

#[test]
fn the_time_is_moved_both_ways_by_set_timeout_and_only_forward_by_the_others() {
    let world = World::new();
    let (lifecycle, team) = (&world.lifecycle, &world.team);
    let sandbox = world.create_with(|request| request.timeout = Duration::from_secs(600));
    let id = &sandbox.id;
    let ends_in = || world.row(id).unwrap().end_at.duration_since(world.clock.now()).as_secs();
    world.run_still(lifecycle.set_timeout(team, id, Duration::from_secs(100))).unwrap();
    assert_eq!(ends_in(), 100);
    let end_at = world.row(id).unwrap().end_at;
    world.run_still(lifecycle.refresh(team, id, Duration::from_secs(50))).unwrap();
    let connected = world.run_still(lifecycle.connect(team, id, Duration::from_secs(20))).unwrap();
    assert!(!connected.resumed);
    assert_eq!(world.row(id).unwrap().end_at, end_at);
    assert_eq!(moved_to(&world.last_event(id)), Some(end_at), "told although unchanged");
    world.run_still(lifecycle.refresh(team, id, Duration::from_secs(200))).unwrap();
    assert_eq!(ends_in(), 200);
    world.run_still(lifecycle.set_timeout(team, id, Duration::ZERO)).unwrap();
    world.wait_still("it is gone", async || lifecycle.sandbox(id).is_none());
    assert_eq!(world.published(id), [Created, Updated, Updated, Updated, Updated, Updated, Killed]);
}

#[test]
fn one_that_cannot_be_paused_is_killed_in_the_end() {
    let world = World::new();
    world.runtime.inject(Trigger::Every(Op::Pause), Fault::Fail);
    let sandbox = world.create_with(|request| {
        request.timeout = Duration::from_secs(1);
        request.on_timeout = OnTimeout::Pause;
    });
    world.wait("it is gone", async || world.lifecycle.sandbox(&sandbox.id).is_none());
    assert_eq!(world.published(&sandbox.id), [Created, Killed]);
    assert_eq!(world.last_event(&sandbox.id).kill_reason(), Some(KillReason::Timeout));
    world.assert_settled();
}
