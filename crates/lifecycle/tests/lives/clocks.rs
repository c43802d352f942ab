//! The wall clock is set, in either direction, or the host is suspended. What was promised holds by the time that passed.

use std::time::Duration;

use jiff::SignedDuration;
use sandscope_model::{Clock, EventType, KillReason, OnTimeout, Sandbox, StateName};

use crate::world::World;

use EventType::{Created, Killed, Paused, Resumed, Updated};

/// Set back by an hour, by ten minutes, and forward by two hours.
const STEPS: [SignedDuration; 3] =
    [SignedDuration::from_hours(-1), SignedDuration::from_mins(-10), SignedDuration::from_hours(2)];
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_sandbox_times_out_when_its_time_has_passed_whatever_the_wall_clock_shows() {
    for step in STEPS {
        let world = World::new();
        let id = world.create_with(|request| request.timeout = 2 * MINUTE).id.clone();
        world.clock.advance(MINUTE);
        world.clock.step_wall(step);
        world.run_still(tokio::task::yield_now());
        let sandbox = world.lifecycle.sandbox(&id).expect("it runs on");
        let shown = sandbox.end_label(world.clock.stamp());
        assert_eq!(shown.duration_since(world.clock.now()).as_secs(), 60, "what is left is shown");
        world.clock.advance(MINUTE - Duration::from_millis(1));
        world.run_still(tokio::task::yield_now());
        assert!(world.lifecycle.sandbox(&id).is_some(), "not before, {step}");
        world.clock.advance(Duration::from_millis(1));
        world.wait_still("it is gone", async || world.lifecycle.sandbox(&id).is_none());
        assert_eq!(world.last_event(&id).kill_reason(), Some(KillReason::Timeout));
        assert_eq!(ran_ms(&world, &id), [120_000]);
        world.assert_settled();
    }
}

/// How long each execution that ended ran, in milliseconds.
fn ran_ms(world: &World, id: &sandscope_model::SandboxId) -> Vec<u64> {
    let log = world.log();
    let ended = log.iter().filter(|event| event.sandbox_id() == Some(id));
    ended.filter_map(|event| event.ended_execution()).map(|execution| execution.execution_time_ms).collect()
}

#[test]
fn executions_across_a_step_took_the_time_that_passed() {
    for step in STEPS {
        let world = World::new();
        let id = world.create().id.clone();
        world.clock.advance(5 * MINUTE);
        world.clock.step_wall(step);
        world.clock.advance(MINUTE);
        world.pause(&id);
        // Set back where it was, while nothing runs.
        world.clock.step_wall(-step);
        world.run_still(world.lifecycle.resume(&world.team, &id, 10 * MINUTE)).unwrap();
        world.clock.advance(MINUTE);
        world.clock.step_wall(step);
        world.run_still(world.lifecycle.kill(world.team.id, &id, KillReason::Request)).unwrap();
        assert_eq!(ran_ms(&world, &id), [360_000, 60_000], "{step}");
        assert_eq!(world.published(&id), [Created, Paused, Resumed, Killed]);
        let times: Vec<_> = world.log().iter().map(|event| event.timestamp).collect();
        assert!(times.is_sorted(), "{times:?}");
        world.assert_settled();
    }
}

#[test]
fn a_step_while_no_server_runs_changes_nothing_of_what_is_left() {
    for step in STEPS {
        let mut world = World::new();
        let id = world.create_with(|request| request.timeout = 10 * MINUTE).id.clone();
        world.clock.advance(MINUTE);
        world.stop();
        world.clock.step_wall(step);
        world.clock.advance(MINUTE);
        world.start().unwrap();
        let sandbox = world.lifecycle.sandbox(&id).expect("it runs on");
        let left = sandbox.end_label(world.clock.stamp()).duration_since(world.clock.now());
        // Starting takes a little of the stepped time.
        assert!((470..=480).contains(&left.as_secs()), "{left} after {step}");
        world.clock.advance(9 * MINUTE);
        world.wait_still("it is gone", async || world.lifecycle.sandbox(&id).is_none());
        let ran = ran_ms(&world, &id);
        assert!((600_000..720_000).contains(&ran[0]), "{ran:?} after {step}");
        world.assert_settled();
    }
}

#[test]
fn after_a_restart_of_the_host_what_is_left_is_told_by_the_wall_clock() {
    let mut world = World::new();
    let id = world.create_with(|request| request.timeout = 10 * MINUTE).id.clone();
    world.stop();
    // Its uptime begins anew; a sandbox that an engine carries over such a restart goes on.
    world.clock.reboot();
    world.clock.advance(MINUTE);
    world.start().unwrap();
    let sandbox = world.lifecycle.sandbox(&id).expect("it runs on");
    assert_eq!(sandbox.end_label(world.clock.stamp()), sandbox.end_at);
    world.clock.advance(8 * MINUTE);
    world.run_still(tokio::task::yield_now());
    assert!(world.lifecycle.sandbox(&id).is_some());
    world.clock.advance(MINUTE);
    world.wait_still("it is gone", async || world.lifecycle.sandbox(&id).is_none());
    world.assert_settled();
}

#[test]
fn a_time_that_is_moved_after_a_step_ends_by_the_clock_as_it_is_set_now() {
    for step in STEPS {
        let world = World::new();
        let (lifecycle, team) = (&world.lifecycle, &world.team);
        let id = world.create_with(|request| request.timeout = 10 * MINUTE).id.clone();
        world.clock.step_wall(step);
        // Not extended: it has longer than that.
        world.run_still(lifecycle.refresh(team, &id, 5 * MINUTE)).unwrap();
        assert_eq!(world.row(&id).unwrap().end_at.duration_since(world.clock.now()).as_secs(), 600);
        world.run_still(lifecycle.set_timeout(team, &id, MINUTE)).unwrap();
        assert_eq!(world.row(&id).unwrap().end_at.duration_since(world.clock.now()).as_secs(), 60);
        world.clock.advance(MINUTE);
        world.wait_still("it is gone", async || lifecycle.sandbox(&id).is_none());
        assert_eq!(world.published(&id), [Created, Updated, Updated, Killed]);
        world.assert_settled();
    }
}

#[test]
fn time_in_which_the_host_was_suspended_counts() {
    let world = World::new();
    let id = world.create_with(|request| request.timeout = 10 * MINUTE).id.clone();
    // Both times go on while nobody runs.
    world.clock.advance(60 * MINUTE);
    world.wait_still("it is gone", async || world.lifecycle.sandbox(&id).is_none());
    assert_eq!(ran_ms(&world, &id), [3_600_000]);
    assert_eq!(world.last_event(&id).kill_reason(), Some(KillReason::Timeout));
    world.assert_settled();
}

#[test]
fn a_pause_keeps_what_was_left() {
    for step in STEPS {
        let world = World::new();
        let id = world.create_with(|request| request.timeout = 50 * MINUTE).id.clone();
        world.clock.advance(MINUTE);
        world.clock.step_wall(step);
        world.pause(&id);
        world.clock.advance(100 * MINUTE);
        let sandbox = world.row(&id).unwrap();
        assert_eq!(sandbox.state.name(), StateName::Paused);
        let sandscope_model::State::Paused { paused } = sandbox.state else { unreachable!() };
        assert_eq!(paused.left_ms, Some(49 * 60_000), "{step}");
        let carried_on = world.run_still(world.lifecycle.carry_on(&world.team, &id, MINUTE)).unwrap();
        assert!(carried_on.resumed);
        let ends_in = |sandbox: &Sandbox| sandbox.end_at.duration_since(world.clock.now()).as_mins();
        assert_eq!(ends_in(&carried_on.sandbox), 49, "{step}");
        // One that runs stays as it is.
        let again = world.run_still(world.lifecycle.carry_on(&world.team, &id, MINUTE)).unwrap();
        assert_eq!((again.resumed, ends_in(&again.sandbox)), (false, 49));
        assert_eq!(world.published(&id), [Created, Paused, Resumed]);
        world.assert_settled();
    }
}

#[test]
fn where_nothing_was_left_or_a_timeout_is_given_that_one_counts() {
    let world = World::new();
    let (lifecycle, team) = (&world.lifecycle, &world.team);
    let id = world
        .create_with(|request| {
            request.timeout = MINUTE;
            request.on_timeout = OnTimeout::Pause;
        })
        .id
        .clone();
    let is_paused = async || lifecycle.sandbox(&id).unwrap().state.name() == StateName::Paused;
    world.clock.advance(MINUTE);
    world.wait_still("its time is up", is_paused);
    let ends_in = || world.row(&id).unwrap().end_at.duration_since(world.clock.now()).as_secs();
    world.run_still(lifecycle.carry_on(team, &id, 5 * MINUTE)).unwrap();
    assert_eq!(ends_in(), 300);
    world.pause(&id);
    world.run_still(lifecycle.connect(team, &id, MINUTE)).unwrap();
    assert_eq!(ends_in(), 60);
}
