//! The facts are kept somewhere else, and calls get lost on the way there or back.

use sandscope_lifecycle::{CreateError, RequestError};
use sandscope_model::{EventType, KillReason};
use sandscope_store::StoreError;
use sandscope_testbed::{FactsCall, Loss};

use crate::faults::{Change, can_be_ended};
use crate::world::{LONG, World, request};

#[test]
fn a_whole_life_goes_by_the_facts_of_somewhere_else() {
    let world = World::new();
    let id = &world.create().id;
    world.pause(id);
    world.run_still(world.lifecycle.resume(&world.team, id, LONG)).unwrap();
    world.run_still(world.lifecycle.kill(world.team.id, id, KillReason::Request)).unwrap();
    world.assert_settled();
    use EventType::{Created, Killed, Paused, Resumed};
    assert_eq!(world.published(id), [Created, Paused, Resumed, Killed]);
    let calls = world.facts.calls();
    let n_of = |wanted| calls.iter().filter(|call| **call == wanted).count();
    assert_eq!(n_of(FactsCall::AdmitSandbox), 1);
    assert_eq!(n_of(FactsCall::Commit), 7);
    assert_eq!(n_of(FactsCall::NewestSamples), 1);
}

#[test]
fn every_answer_to_a_commit_is_lost_once() {
    for change in Change::ALL {
        let world = World::new();
        let sandbox = change.prepare(&world);
        world.facts.lose(FactsCall::Commit, Loss::Answer);
        // It is recorded: whoever asks is answered so.
        world.run(change.ask(&world, sandbox.as_deref())).unwrap();
        assert_eq!(world.facts.n_left(), 0);
        world.assert_settled();
        can_be_ended(&world, sandbox.as_deref());
    }
}

#[test]
fn every_commit_is_lost_once() {
    for change in Change::ALL {
        let world = World::new();
        let sandbox = change.prepare(&world);
        world.facts.lose(FactsCall::Commit, Loss::Question);
        let answer = world.run(change.ask(&world, sandbox.as_deref()));
        assert!(matches!(answer, Err(RequestError::Store(StoreError::Busy))), "{change:?}: {answer:?}");
        world.assert_settled();
        can_be_ended(&world, sandbox.as_deref());
    }
}

/// What is taken of a team by a create that came to nothing is given back before that is said.
fn gives_back(world: &World) {
    assert_eq!(world.run_still(world.store.facts.live_sandboxes()).unwrap(), []);
    world.assert_settled();
    assert_eq!(world.log(), []);
    world.create();
}

#[test]
fn a_create_that_panics_once_it_is_admitted_gives_its_place_and_its_row_back() {
    let world = World::with_limit(1);
    world.facts.lose(FactsCall::AdmitSandbox, Loss::Panic);
    let answer = world.run(world.lifecycle.create(&world.team, request()));
    assert!(matches!(answer, Err(CreateError::Broken)), "{answer:?}");
    gives_back(&world);
}

#[test]
fn a_create_whose_admission_is_not_heard_of_gives_its_place_and_its_row_back() {
    for loss in [Loss::Answer, Loss::Question] {
        let world = World::with_limit(1);
        world.facts.lose(FactsCall::AdmitSandbox, loss);
        let answer = world.run(world.lifecycle.create(&world.team, request()));
        assert!(matches!(answer, Err(CreateError::Store(StoreError::Busy))), "{answer:?}");
        gives_back(&world);
    }
}

#[test]
fn a_row_that_cannot_be_given_back_at_once_is_given_back_later() {
    let world = World::with_limit(1);
    world.facts.lose(FactsCall::AdmitSandbox, Loss::Panic);
    world.facts.lose(FactsCall::DropSandbox, Loss::Question);
    let answer = world.run(world.lifecycle.create(&world.team, request()));
    assert!(matches!(answer, Err(CreateError::Broken)), "{answer:?}");
    world.assert_settled();
    gives_back(&world);
}
