//! Every step of every transition fails once: what is told is what is, and afterwards everything works again.

use std::sync::Arc;
use std::time::Duration;

use sandscope_lifecycle::{CreateError, RequestError};
use sandscope_model::{EventType, KillReason, Sandbox, StateName, Transition};
use sandscope_store::{StoreError, fault};
use sandscope_testbed::{Fault, Op, Trigger};

use crate::world::{LONG, World, request};

/// A change of a sandbox that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    Pause,
    Resume,
    Extend,
    SetTimeout,
    Checkpoint,
    KillRunning,
    KillPaused,
}

impl Change {
    pub(crate) const ALL: [Self; 8] = [
        Self::Create,
        Self::Pause,
        Self::Resume,
        Self::Extend,
        Self::SetTimeout,
        Self::Checkpoint,
        Self::KillRunning,
        Self::KillPaused,
    ];

    /// What it tells.
    pub(crate) const fn event(self) -> EventType {
        match self {
            Self::Create => EventType::Created,
            Self::Pause => EventType::Paused,
            Self::Resume => EventType::Resumed,
            Self::Extend | Self::SetTimeout => EventType::Updated,
            Self::Checkpoint => EventType::Checkpointed,
            Self::KillRunning | Self::KillPaused => EventType::Killed,
        }
    }

    /// How many commits it takes.
    const fn n_commits(self) -> u64 {
        match self {
            Self::Extend | Self::SetTimeout | Self::Checkpoint => 1,
            _ => 2,
        }
    }

    /// Whether it makes room on the disk.
    const fn makes_room(self) -> bool {
        matches!(self, Self::KillRunning | Self::KillPaused)
    }

    /// A sandbox it can be asked of.
    pub(crate) fn prepare(self, world: &World) -> Option<Arc<Sandbox>> {
        if self == Self::Create {
            return None;
        }
        let sandbox = world.create();
        if matches!(self, Self::Resume | Self::KillPaused) {
            world.pause(&sandbox.id);
        }
        Some(sandbox)
    }

    pub(crate) async fn ask(self, world: &World, sandbox: Option<&Sandbox>) -> Result<(), RequestError> {
        let (lifecycle, team) = (&world.lifecycle, &world.team);
        let Some(id) = sandbox.map(|sandbox| &sandbox.id) else {
            return match lifecycle.create(team, request()).await {
                Ok(_) => Ok(()),
                Err(CreateError::Engine(error)) => Err(RequestError::Engine(error)),
                Err(CreateError::Store(error)) => Err(RequestError::Store(error)),
                Err(CreateError::Broken) => Err(RequestError::Broken),
                Err(other) => panic!("{other}"),
            };
        };
        match self {
            Self::Create => unreachable!("it has no sandbox yet"),
            Self::Pause => lifecycle.pause(team.id, id).await,
            Self::Resume => lifecycle.resume(team, id, LONG).await.map(drop),
            Self::Extend => lifecycle.connect(team, id, LONG * 2).await.map(drop),
            Self::SetTimeout => lifecycle.set_timeout(team, id, LONG / 2).await,
            Self::Checkpoint => lifecycle.checkpoint(team, id, None).await.map(drop),
            Self::KillRunning | Self::KillPaused => lifecycle.kill(team.id, id, KillReason::Request).await,
        }
    }
}

/// Whatever happened before: the sandbox can still be killed, or is gone.
pub(crate) fn can_be_ended(world: &World, sandbox: Option<&Sandbox>) {
    if let Some(sandbox) = sandbox
        && world.lifecycle.sandbox(&sandbox.id).is_some()
    {
        let id = &sandbox.id;
        world.run(world.lifecycle.kill(world.team.id, id, KillReason::Request)).unwrap();
        world.assert_settled();
        assert_eq!(world.published(id).last(), Some(&EventType::Killed));
    }
    // Others are not hurt.
    world.create();
}

#[test]
fn every_commit_fails_once() {
    for change in Change::ALL {
        for n in 1..=change.n_commits() {
            for kind in [fault::Fault::Full, fault::Fault::Io, fault::Fault::ReadOnly] {
                let world = World::new();
                let sandbox = change.prepare(&world);
                let n_before = world.log().len();
                world.faults.fail_commit(world.faults.n_commits() + n, kind);
                let answer = world.run(change.ask(&world, sandbox.as_deref()));
                // On a full disk there is room kept for what makes room. The system does not always say "full".
                let is_kept = kind != fault::Fault::ReadOnly && change.makes_room();
                let told = matches!(&answer, Err(RequestError::Store(error)) if error.is_unavailable());
                assert!(told || (is_kept && answer.is_ok()), "{change:?}, commit {n}, {kind:?}: {answer:?}");
                world.assert_settled();
                // A refused intent changed nothing. A result is recorded in the end, except that of a create and of
                // a checkpoint, which are taken back: nobody knows the id.
                let is_told = is_kept || (n == 2 && change != Change::Create);
                let n_told = world.log().len() - n_before;
                assert_eq!(n_told, usize::from(is_told), "{change:?}, commit {n}, {kind:?}");
                if change == Change::Checkpoint {
                    assert!(world.runtime.layers().is_empty(), "the captured layer is removed");
                }
                can_be_ended(&world, sandbox.as_deref());
            }
        }
    }
}

#[test]
fn every_call_of_the_runtime_fails_once() {
    for change in Change::ALL {
        for fault in [Fault::Fail, Fault::FailAfterEffect] {
            let world = World::new();
            let sandbox = change.prepare(&world);
            let before = world.log().len();
            let n_operations = world.runtime.n_operations();
            world.runtime.inject(Trigger::Nth(0), fault);
            let answer = world.run(change.ask(&world, sandbox.as_deref()));
            let has_called = world.runtime.n_operations() > n_operations;
            let is_kill = matches!(change, Change::KillRunning | Change::KillPaused);
            // A kill is tried again until it succeeds.
            assert_eq!(answer.is_ok(), is_kill || !has_called, "{change:?} {fault:?}: {answer:?}");
            world.assert_settled();
            assert_eq!(world.log().len() - before, usize::from(answer.is_ok()), "{change:?} {fault:?}");
            world.runtime.heal();
            can_be_ended(&world, sandbox.as_deref());
        }
    }
}

#[test]
fn while_a_result_cannot_be_recorded_the_sandbox_is_busy_and_nothing_is_lost() {
    let world = World::new();
    let id = &world.create().id;
    let n = world.faults.n_commits();
    // The intent is recorded; then the disk is full until further notice.
    for commit in n + 2..n + 8 {
        world.faults.fail_commit(commit, fault::Fault::Full);
    }
    let answer = world.run_still(world.lifecycle.pause(world.team.id, id));
    assert!(matches!(answer, Err(RequestError::Store(StoreError::Full))));
    let answer = world.run_still(world.lifecycle.resume(&world.team, id, LONG));
    assert!(matches!(answer, Err(RequestError::Busy)));
    world
        .wait("it is recorded", async || world.store.events.last_sequence(world.team.id).await.unwrap() >= 2);
    world.assert_settled();
    assert_eq!(world.published(id), [EventType::Created, EventType::Paused]);
    world.run(world.lifecycle.resume(&world.team, id, LONG)).unwrap();
}

#[test]
fn a_kill_that_fails_for_long_is_told_and_goes_on() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.inject(Trigger::Every(Op::Kill), Fault::Fail);
    let answer = world.run(world.lifecycle.kill(world.team.id, id, KillReason::Request));
    assert!(matches!(answer, Err(RequestError::Engine(_))));
    let state = world.lifecycle.sandbox(id).unwrap().state.name();
    assert_eq!(state, StateName::Killing);
    world.runtime.heal();
    world.assert_settled();
    assert_eq!(world.published(id), [EventType::Created, EventType::Killed]);
}

#[test]
fn a_sandbox_that_vanished_is_told_dead() {
    for change in [Change::Pause, Change::Resume, Change::Checkpoint] {
        let world = World::new();
        let sandbox = change.prepare(&world);
        let id = &sandbox.as_ref().unwrap().id;
        world.runtime.vanish(id);
        let answer = world.run(change.ask(&world, sandbox.as_deref()));
        assert!(matches!(answer, Err(RequestError::NotFound)), "{change:?}: {answer:?}");
        world.assert_settled();
        let reason = world.last_event(id).kill_reason();
        let expected = if change == Change::Resume { KillReason::ResumeFailed } else { KillReason::Orphaned };
        assert_eq!(reason, Some(expected), "{change:?}");
    }
}

#[test]
fn a_time_that_is_up_while_the_store_is_full_is_ended_once_it_is_not() {
    let world = World::new();
    let id = &world.create_with(|request| request.timeout = Duration::from_secs(1)).id;
    world.faults.fail_always(Some(fault::Fault::Full));
    let n_tried = world.faults.n_commits();
    world.clock.advance(Duration::from_secs(2));
    world.wait("its end was tried", async || world.faults.n_commits() > n_tried);
    assert!(world.lifecycle.sandbox(id).is_some());
    world.faults.fail_always(None);
    world.wait("it is gone", async || world.lifecycle.sandbox(id).is_none());
    world.assert_settled();
    assert_eq!(world.published(id), [EventType::Created, EventType::Killed]);
}

#[test]
fn what_is_left_of_a_dead_sandbox_is_removed_in_the_end() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.inject(Trigger::Nth(0), Fault::Fail);
    world.runtime.inject(Trigger::Nth(1), Fault::Fail);
    assert!(world.runtime.run_out_of_memory(id));
    world.run(world.runtime.wait_until("it is removed", |runtime| runtime.shapes().is_empty()));
    world.assert_settled();
    assert_eq!(world.published(id), [EventType::Created, EventType::Killed]);
}

#[test]
fn a_change_that_failed_halfway_is_taken_back_even_if_that_fails_too_at_first() {
    for change in [Change::Pause, Change::Resume] {
        let world = World::new();
        let sandbox = change.prepare(&world).unwrap();
        let before = world.published(&sandbox.id);
        world.runtime.inject(Trigger::Nth(0), Fault::FailAfterEffect);
        world.runtime.inject(Trigger::Nth(1), Fault::Fail);
        world.runtime.inject(Trigger::Nth(2), Fault::Fail);
        let answer = world.run(change.ask(&world, Some(&sandbox)));
        assert!(matches!(answer, Err(RequestError::Engine(_))), "{change:?}: {answer:?}");
        world.assert_settled();
        assert_eq!(world.published(&sandbox.id), before);
    }
}

#[test]
fn one_that_neither_runs_nor_stands_still_is_ended() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.inject(Trigger::Every(Op::Pause), Fault::FailAfterEffect);
    world.runtime.inject(Trigger::Every(Op::Resume), Fault::Fail);
    let answer = world.run(world.lifecycle.pause(world.team.id, id));
    assert!(matches!(answer, Err(RequestError::NotFound)), "{answer:?}");
    world.assert_settled();
    assert_eq!(world.last_event(id).kill_reason(), Some(KillReason::AgentLost));
}

#[test]
fn an_intent_recorded_behind_the_drivers_back_is_carried_out() {
    for dies in [false, true] {
        let world = World::new();
        let sandbox = world.create();
        let id = &sandbox.id;
        // As after a write that the disk reported as failed, but which is there once the disk is back.
        let (state, _) = sandbox.state.apply(Transition::PauseRequested).unwrap();
        let paused = sandscope_store::Change {
            sandbox: Sandbox { state, ..(*sandbox).clone() },
            event: None,
            snapshot: None,
        };
        world.run_still(world.store.facts.commit(paused)).unwrap();
        if dies {
            world.runtime.run_out_of_memory(id);
        } else {
            let answer = world.run(world.lifecycle.set_timeout(&world.team, id, LONG));
            assert!(matches!(answer, Err(RequestError::Store(StoreError::Conflict))), "{answer:?}");
        }
        let last = if dies { EventType::Killed } else { EventType::Paused };
        world
            .wait("it is told", async || world.store.events.last_sequence(world.team.id).await.unwrap() >= 2);
        world.assert_settled();
        assert_eq!(world.published(id), [EventType::Created, last]);
    }
}

#[test]
fn while_the_store_is_slow_everything_takes_longer_and_nothing_is_lost() {
    let mut world = World::new();
    world.faults.slow_down(Some(Duration::from_millis(15)));
    for change in Change::ALL {
        let sandbox = change.prepare(&world);
        let before = world.log().len();
        world.run_still(change.ask(&world, sandbox.as_deref())).unwrap();
        assert_eq!(world.log().len(), before + 1, "{change:?}");
        if let Some(sandbox) = sandbox.filter(|_| change == Change::Extend) {
            // A death in the middle of a slow change waits for its turn.
            let (lifecycle, team) = (world.lifecycle.clone(), world.team.clone());
            world.run_still(async {
                let pausing = lifecycle.pause(team.id, &sandbox.id);
                tokio::pin!(pausing);
                let _not_yet = tokio::time::timeout(Duration::from_millis(5), &mut pausing).await;
                world.runtime.run_out_of_memory(&sandbox.id);
                pausing.await.ok();
            });
            world.assert_settled();
            assert_eq!(world.published(&sandbox.id).last(), Some(&EventType::Killed));
        }
    }
    world.assert_settled();
    let told = world.log();
    world.crash();
    world.assert_settled();
    assert!(world.log().starts_with(&told));
}
