//! Every event says who caused it, also when the server was killed half way and another one finished the work.

use std::time::Duration;

use sandscope_lives::Waking;
use sandscope_model::{
    Actor, ApiKeyId, Component, EventType, Exit, ExitStatus, OnTimeout, Origin, SandboxId,
};
use sandscope_testbed::{Fault, Trigger};

use crate::world::World;

fn somebody(n: u128) -> Origin {
    Origin {
        actor: Actor::ApiKey { id: ApiKeyId::from(uuid::Uuid::from_u128(n)), name: Some("ci".into()) },
        request_id: Some(format!("request-{n}").into()),
        remote_address: Some([192, 0, 2, 1].into()),
    }
}

/// Type and origin of each of the sandbox's events.
fn published(world: &World, id: &SandboxId) -> Vec<(EventType, Origin)> {
    let log = world.log().into_iter().filter(|event| event.sandbox_id() == Some(id));
    log.map(|event| (event.event_type(), event.draft.origin.expect("an origin"))).collect()
}

#[test]
fn each_event_names_who_asked_for_it() {
    let world = World::new();
    let by = |n| world.lifecycle.on_behalf_of(somebody(n));
    let id = world.run_still(by(1).create(&world.team, crate::world::request())).unwrap().sandbox.id.clone();
    let minute = Duration::from_secs(60);
    world.run_still(by(2).set_timeout(&world.team, &id, minute)).unwrap();
    world.run_still(by(3).checkpoint(&world.team, &id, None)).unwrap();
    world.run_still(by(4).pause(world.team.id, &id)).unwrap();
    world.run_still(by(5).resume(&world.team, &id, minute)).unwrap();
    world.run_still(by(6).kill(world.team.id, &id, sandscope_model::KillReason::Request)).unwrap();
    use EventType as E;
    let types = [E::Created, E::Updated, E::Checkpointed, E::Paused, E::Resumed, E::Killed];
    let expected: Vec<_> = types.into_iter().zip((1..).map(somebody)).collect();
    assert_eq!(published(&world, &id), expected);
}

#[test]
fn what_nobody_asked_for_names_the_part_of_the_server() {
    let mut world = World::new();
    let timed = world.create_with(|request| {
        request.timeout = Duration::from_secs(5);
        request.on_timeout = OnTimeout::Pause;
        request.auto_resume = true;
    });
    let crashed = world.create().id.clone();
    let lost = world.create().id.clone();
    world.clock.advance(Duration::from_secs(5));
    world.wait_still("its time is up", async || {
        let found = world.lifecycle.sandbox(&timed.id);
        found.is_some_and(|sandbox| sandbox.state.name() == sandscope_model::StateName::Paused)
    });
    // No port is open in it: what counts is that it was woken.
    let _ = world.run_still(world.lifecycle.dial(&timed.id, 80, Waking::Allowed));
    assert!(world.runtime.exit(&crashed, Exit { status: Some(ExitStatus::Code(1)), ..Exit::default() }));
    world.wait_still("its death is told", async || world.lifecycle.sandbox(&crashed).is_none());
    world.stop();
    world.runtime.vanish(&lost);
    world.start().unwrap();
    world.assert_settled();

    let last = |id| published(&world, id).pop().unwrap();
    let system = Origin::system;
    assert_eq!(
        published(&world, &timed.id)[1..],
        [(EventType::Paused, system(Component::Timeout)), (EventType::Resumed, system(Component::Traffic)),]
    );
    assert_eq!(last(&crashed), (EventType::Killed, system(Component::Runtime)));
    assert_eq!(last(&lost), (EventType::Killed, system(Component::Recovery)));
}

#[test]
fn work_that_another_start_finishes_is_still_told_as_whose_it_was() {
    for fault in [Fault::HaltBefore, Fault::HaltAfter] {
        let mut world = World::new();
        let id = world.create().id.clone();
        world.runtime.inject(Trigger::Nth(0), fault);
        let (team, asker) = (world.team.id, world.lifecycle.on_behalf_of(somebody(7)));
        assert!(world.run_until_halt(asker.pause(team, &id)).is_none());
        assert_eq!(world.row(&id).unwrap().intent_origin, Some(somebody(7)));
        world.crash();
        world.assert_settled();
        assert_eq!(published(&world, &id).pop().unwrap(), (EventType::Paused, somebody(7)), "{fault:?}");
        assert_eq!(world.row(&id).unwrap().intent_origin, None);
    }
}
