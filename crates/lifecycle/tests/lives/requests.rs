use std::time::Duration;

use sandscope_lifecycle::{CreateError, RequestError};
use sandscope_lives::{DialError, IdempotencyKey, SnapshotName, Waking};
use sandscope_model::{
    Cause, Clock, EventType, Exit, ExitStatus, Fact, KillReason, Rootfs, SandboxId, StateName, Team, TeamId,
};
use sandscope_store::DeleteTemplate;
use sandscope_testbed::{Fault, Op, Shape, Trigger};

use crate::world::{LONG, World, moved_to, request};

use EventType::{Checkpointed, Created, Killed, Paused, Resumed, Updated};

#[test]
fn a_whole_life_is_told_as_it_was_lived() {
    let world = World::new();
    let sandbox = world.create();
    let (id, team) = (&sandbox.id, &world.team);
    assert_eq!(sandbox.state.name(), StateName::Running);
    let lifecycle = &world.lifecycle;
    world.run_still(lifecycle.set_timeout(team, id, Duration::from_secs(60))).unwrap();
    let told = moved_to(&world.last_event(id)).unwrap();
    assert_eq!(told.duration_since(world.clock.now()).as_secs(), 60);

    world.clock.advance(Duration::from_millis(1_500));
    world.run_still(lifecycle.pause(team.id, id)).unwrap();
    let paused = world.last_event(id);
    assert_eq!(paused.ended_execution().unwrap().execution_time_ms, 1_500);
    let row = world.row(id).unwrap();
    assert_eq!(row.end_at, world.clock.now());

    let connected = world.run_still(lifecycle.connect(team, id, LONG)).unwrap();
    assert!(connected.resumed);
    let name = SnapshotName { name: "snap".into(), tag: "default".into() };
    let (template, build, tag) = world.run_still(lifecycle.checkpoint(team, id, Some(name))).unwrap();
    assert_eq!(tag, "default");
    assert_eq!(world.last_event(id).fact, Fact::Checkpointed { snapshot: template.id });
    assert_eq!(build.rootfs, Rootfs::Snapshot(build.id));
    world.run_still(lifecycle.kill(team.id, id, KillReason::Request)).unwrap();

    assert_eq!(world.published(id), [Created, Updated, Paused, Resumed, Checkpointed, Killed]);
    let log = world.log();
    assert!(log.iter().all(|event| event.metadata()["purpose"] == "test"));
    assert_ne!(log[0].sandbox().unwrap().execution_id, log[3].sandbox().unwrap().execution_id);
    assert_eq!(log[5].kill_reason(), Some(KillReason::Request));
    assert!(lifecycle.sandbox(id).is_none());
    world.assert_settled();
}

#[test]
fn what_is_denied_changes_nothing() {
    let world = World::new();
    let id = &world.create().id;
    let (lifecycle, team) = (&world.lifecycle, &world.team);
    let denied =
        |state| move |error: RequestError| matches!(error, RequestError::Denied { state: s } if s == state);
    assert!(world.run_still(lifecycle.resume(team, id, LONG)).is_err_and(denied(StateName::Running)));
    world.pause(id);
    let in_pause = denied(StateName::Paused);
    assert!(world.run_still(lifecycle.pause(team.id, id)).is_err_and(in_pause));
    assert!(world.run_still(lifecycle.set_timeout(team, id, LONG)).is_err_and(in_pause));
    assert!(world.run_still(lifecycle.refresh(team, id, LONG)).is_err_and(in_pause));
    assert!(world.run_still(lifecycle.checkpoint(team, id, None)).is_err_and(in_pause));
    assert_eq!(world.published(id), [Created, Paused]);
}

#[test]
fn nobody_sees_anothers_sandbox_and_a_dead_one_is_gone() {
    let world = World::new();
    let id = &world.create().id;
    let stranger = Team { id: TeamId::from(uuid::Uuid::from_u128(9)), ..world.team.clone() };
    let lifecycle = &world.lifecycle;
    let is_not_found = |error| matches!(error, RequestError::NotFound);
    let by_stranger = world.run_still(lifecycle.kill(stranger.id, id, KillReason::Request));
    assert!(by_stranger.is_err_and(is_not_found));
    assert!(world.run_still(lifecycle.connect(&stranger, id, LONG)).is_err_and(is_not_found));
    world.run_still(lifecycle.kill(world.team.id, id, KillReason::Request)).unwrap();
    let again = world.run_still(lifecycle.kill(world.team.id, id, KillReason::Request));
    assert!(again.is_err_and(is_not_found));
}

#[test]
fn timeouts_beyond_the_teams_are_refused() {
    let world = World::new();
    let id = &world.create().id;
    let too_long = Duration::from_secs(24 * 3600 + 1);
    let mut wanted = request();
    wanted.timeout = too_long;
    let refused = world.run_still(world.lifecycle.create(&world.team, wanted));
    assert!(matches!(refused, Err(CreateError::TimeoutTooLong { max_hours: 24 })));
    let refused = world.run_still(world.lifecycle.set_timeout(&world.team, id, too_long));
    assert!(matches!(refused, Err(RequestError::TimeoutTooLong { max_hours: 24 })));
    let mut wanted = request();
    wanted.template = "nothing".into();
    let refused = world.run_still(world.lifecycle.create(&world.team, wanted));
    assert!(matches!(refused, Err(CreateError::TemplateNotFound { reference }) if reference == "nothing"));
}

#[test]
fn the_limit_holds_for_creates_and_resumes_together() {
    let world = World::with_limit(1);
    let first = world.create().id.clone();
    let (lifecycle, team) = (&world.lifecycle, &world.team);
    let refused = world.run_still(lifecycle.create(team, request()));
    assert!(matches!(refused, Err(CreateError::LimitReached { limit: 1 })));
    world.pause(&first);
    let second = world.create().id.clone();
    let refused = world.run_still(lifecycle.resume(team, &first, LONG));
    assert!(matches!(refused, Err(RequestError::LimitReached { limit: 1 })));
    world.run_still(lifecycle.kill(team.id, &second, KillReason::Request)).unwrap();
    world.run_still(lifecycle.resume(team, &first, LONG)).unwrap();
    world.assert_settled();
}

#[test]
fn a_repeated_create_gets_the_same_sandbox_even_at_the_limit() {
    let world = World::with_limit(1);
    let key = |hash| IdempotencyKey { key: "k".into(), request_hash: [hash; 32] };
    let mut wanted = request();
    wanted.idempotency = Some(key(1));
    let first = world.run_still(world.lifecycle.create(&world.team, wanted.clone())).unwrap();
    let again = world.run_still(world.lifecycle.create(&world.team, wanted.clone())).unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.sandbox.id, again.sandbox.id);
    wanted.idempotency = Some(key(2));
    let mismatch = world.run_still(world.lifecycle.create(&world.team, wanted));
    assert!(matches!(mismatch, Err(CreateError::IdempotencyMismatch)));
}

#[test]
fn everybody_who_kills_at_once_is_told_it_is_done() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.hold(Op::Kill);
    let kill = || world.lifecycle.kill(world.team.id, id, KillReason::Request);
    let (first, second, third) = world.run_still(async {
        let release = async {
            world.runtime.wait_held(Op::Kill).await;
            world.runtime.release(Op::Kill);
        };
        let (first, second, third, ()) = tokio::join!(kill(), kill(), kill(), release);
        (first, second, third)
    });
    first.unwrap();
    second.unwrap();
    third.unwrap();
    assert_eq!(world.published(id), [Created, Killed]);
}

#[test]
fn a_caller_that_goes_away_changes_nothing() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.hold(Op::Pause);
    world.run_still(async {
        tokio::select! {
            _ = world.lifecycle.pause(world.team.id, id) => panic!("it is held"),
            () = world.runtime.wait_held(Op::Pause) => {}
        }
    });
    world.runtime.release(Op::Pause);
    world.wait_still("the pause is told", async || {
        world.lifecycle.sandbox(id).is_some_and(|sandbox| sandbox.state.name() == StateName::Paused)
    });
    world.assert_settled();
    assert_eq!(world.published(id), [Created, Paused]);
}

#[test]
fn a_create_whose_caller_goes_away_is_finished() {
    let world = World::new();
    world.runtime.hold(Op::Create);
    world.run_still(async {
        tokio::select! {
            _ = world.lifecycle.create(&world.team, request()) => panic!("it is held"),
            () = world.runtime.wait_held(Op::Create) => {}
        }
    });
    world.runtime.release(Op::Create);
    world.run_still(world.runtime.wait_until("it runs", |runtime| !runtime.shapes().is_empty()));
    world.assert_settled();
}

#[test]
fn a_death_during_a_pause_is_told_instead_of_the_pause() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.hold(Op::Pause);
    let answer = world.run_still(async {
        let die = async {
            world.runtime.wait_held(Op::Pause).await;
            assert!(world.runtime.run_out_of_memory(id));
            world.runtime.release(Op::Pause);
        };
        tokio::join!(world.lifecycle.pause(world.team.id, id), die).0
    });
    assert!(matches!(answer, Err(RequestError::NotFound)));
    world.assert_settled();
    assert_eq!(world.published(id), [Created, Killed]);
    assert_eq!(world.last_event(id).kill_reason(), Some(KillReason::Oom));
}

#[test]
fn a_crash_is_told_with_its_exit() {
    let world = World::new();
    let (running, paused) = (&world.create().id, &world.create().id);
    world.pause(paused);
    let exit = Exit { status: Some(ExitStatus::Code(3)), cause: Some(Cause::AgentExited), ..Exit::default() };
    for id in [running, paused] {
        assert!(world.runtime.exit(id, exit.clone()));
    }
    world.wait_still("both are gone", async || {
        world.lifecycle.sandbox(running).is_none() && world.lifecycle.sandbox(paused).is_none()
    });
    world.assert_settled();
    let event = world.last_event(running);
    assert_eq!(event.kill_reason(), Some(KillReason::Crashed));
    assert_eq!(event.fact.death().unwrap().exit, Some(exit));
    assert!(event.ended_execution().is_some());
    assert!(world.last_event(paused).ended_execution().is_none());
}

#[test]
fn a_snapshot_is_started_from_and_deleted_with_its_layer() {
    let world = World::new();
    let (lifecycle, team) = (&world.lifecycle, &world.team);
    let id = &world.create().id;
    let name = || Some(SnapshotName { name: "s".into(), tag: "default".into() });
    let (first, first_build, _) = world.run_still(lifecycle.checkpoint(team, id, name())).unwrap();
    let (second, second_build, _) = world.run_still(lifecycle.checkpoint(team, id, name())).unwrap();
    assert_eq!(first.id, second.id, "the name is used again");
    assert_eq!(second_build.template_id, first.id);
    assert_eq!(world.last_event(id).fact, Fact::Checkpointed { snapshot: first.id.clone() });
    assert_eq!(world.runtime.layers().len(), 2);
    let child = world.create_with(|request| request.template = "s".into());
    assert_eq!(child.spec.rootfs, Rootfs::Snapshot(second_build.id));
    let in_use = world.run_still(lifecycle.delete_template(team, "s")).unwrap();
    assert_eq!(in_use, DeleteTemplate::InUse);
    world.run_still(lifecycle.kill(team.id, &child.id, KillReason::Request)).unwrap();
    let deleted = world.run_still(lifecycle.delete_template(team, "s")).unwrap();
    assert!(matches!(deleted, DeleteTemplate::Deleted(builds) if builds.contains(&first_build.id)));
    assert!(world.runtime.layers().is_empty());
}

#[test]
fn traffic_reaches_a_running_sandbox_and_wakes_a_paused_one_that_wishes_so() {
    let world = World::new();
    let sleeper = world.create().id.clone();
    let waker = world.create_with(|request| request.auto_resume = true).id.clone();
    let brief = world
        .create_with(|request| {
            request.auto_resume = true;
            request.timeout = Duration::from_secs(20);
        })
        .id
        .clone();
    world.pause(&sleeper);
    world.pause(&waker);
    world.run_still(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.runtime.listen(None, 8000, listener.local_addr().unwrap());
        let asleep = world.lifecycle.dial(&sleeper, 8000, Waking::Allowed).await;
        assert!(matches!(asleep, Err(DialError::NotFound)));
        let refused = world.lifecycle.dial(&waker, 8000, Waking::Refused).await;
        assert!(matches!(refused, Err(DialError::MayNotWake)));
        let dialed = world.lifecycle.dial(&waker, 8000, Waking::Allowed).await.unwrap();
        // As long as it was given, also where it ran for a moment only.
        assert_eq!(dialed.sandbox.end_at.duration_since(world.clock.now()), LONG.try_into().unwrap());
        let again = world.lifecycle.dial(&waker, 8000, Waking::Refused).await;
        assert!(again.is_ok(), "it runs: nobody has to wake it");
        world.lifecycle.pause(world.team.id, &brief).await.unwrap();
        let dialed = world.lifecycle.dial(&brief, 8000, Waking::Allowed).await.unwrap();
        assert_eq!(dialed.sandbox.end_at.duration_since(world.clock.now()).as_secs(), 300);
        let closed = world.lifecycle.dial(&waker, 8001, Waking::Allowed).await;
        assert!(matches!(closed, Err(DialError::PortClosed)));
        let unknown: SandboxId = "i0123456789abcdefghij".parse().unwrap();
        assert!(matches!(
            world.lifecycle.dial(&unknown, 8000, Waking::Allowed).await,
            Err(DialError::NotFound)
        ));
    });
    assert_eq!(world.published(&waker), [Created, Paused, Resumed]);
}

#[test]
fn many_connections_wake_a_sandbox_once() {
    let world = World::new();
    let id = world.create_with(|request| request.auto_resume = true).id.clone();
    world.pause(&id);
    world.run_still(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.runtime.listen(None, 8000, listener.local_addr().unwrap());
        let dial = || world.lifecycle.dial(&id, 8000, Waking::Allowed);
        let (a, b, c) = tokio::join!(dial(), dial(), dial());
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
    });
    assert_eq!(world.published(&id), [Created, Paused, Resumed]);
}

#[test]
fn draining_finishes_what_is_under_way_and_refuses_the_rest() {
    let world = World::new();
    let (busy, idle) = (&world.create().id, &world.create().id);
    world.runtime.hold(Op::Pause);
    let (pause, queued, ()) = world.run_still(async {
        let pause = world.lifecycle.pause(world.team.id, busy);
        let queued = async {
            world.runtime.wait_held(Op::Pause).await;
            world.lifecycle.resume(&world.team, busy, LONG).await
        };
        let drain = async {
            world.runtime.wait_held(Op::Pause).await;
            tokio::task::yield_now().await;
            let release = async {
                tokio::task::yield_now().await;
                world.runtime.release(Op::Pause);
            };
            tokio::join!(world.lifecycle.drain(), release);
        };
        tokio::join!(pause, queued, drain)
    });
    pause.unwrap();
    assert!(matches!(queued, Err(RequestError::Draining)));
    let refused = world.run_still(world.lifecycle.kill(world.team.id, idle, KillReason::Request));
    assert!(matches!(refused, Err(RequestError::Draining)));
    let refused = world.run_still(world.lifecycle.create(&world.team, request()));
    assert!(matches!(refused, Err(CreateError::Draining)));
    world.assert_settled();
    assert_eq!(world.runtime.shapes()[idle], Shape::Running);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.hold(Op::Checkpoint);
    let n_busy = world.run_still(async {
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (lifecycle, team, id) = (world.lifecycle.clone(), world.team.clone(), id.clone());
            asked.spawn(async move { lifecycle.checkpoint(&team, &id, None).await });
        }
        world.runtime.wait_held(Op::Checkpoint).await;
        world.runtime.release(Op::Checkpoint);
        asked.join_all().await.into_iter().filter(|answer| matches!(answer, Err(RequestError::Busy))).count()
    });
    assert!(n_busy > 0 && n_busy < 200, "{n_busy} of 200 were refused");
    assert_eq!(world.runtime.layers().len(), 200 - n_busy);
    world.assert_settled();
}

#[test]
fn a_sandbox_that_cannot_be_started_leaves_nothing() {
    let world = World::with_limit(1);
    world.runtime.inject(Trigger::Next(Op::Create), Fault::FailAfterEffect);
    let failed = world.run(world.lifecycle.create(&world.team, request()));
    assert!(matches!(failed, Err(CreateError::Engine(_))));
    world.assert_settled();
    assert!(world.log().is_empty());
    // Its place is free again.
    world.create();
}

#[test]
fn a_flooded_sandbox_can_be_ended() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.hold(Op::Checkpoint);
    world.run_still(async {
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (lifecycle, team, id) = (world.lifecycle.clone(), world.team.clone(), id.clone());
            asked.spawn(async move { lifecycle.checkpoint(&team, &id, None).await });
        }
        world.runtime.wait_held(Op::Checkpoint).await;
        let release = async { world.runtime.release(Op::Checkpoint) };
        let kill = world.lifecycle.kill(world.team.id, id, KillReason::Request);
        tokio::join!(kill, release).0.unwrap();
        // Everybody is answered.
        asked.join_all().await;
    });
    assert_eq!(world.published(id).last(), Some(&Killed));
    world.assert_settled();
}
