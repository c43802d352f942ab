//! What a sandbox's end tells, and what is told of processes that die while it lives on.

use std::time::Duration;

use sandscope_engine::Ailment;
use sandscope_model::{
    Cause, Clock, Event, EventType, Exit, ExitStatus, Fact, KillReason, MetricField as F, OomKills, Sample,
    SandboxId, StateName, Values,
};
use sandscope_store::fault;

use crate::world::{UPKEEP, World};

use EventType::{Created, Killed, OutOfMemory, Paused};

fn wait_gone(world: &World, id: &SandboxId) -> Event {
    world.wait("it is gone", async || world.lifecycle.sandbox(id).is_none());
    world.assert_settled();
    world.last_event(id)
}

fn oom_events(world: &World, id: &SandboxId) -> Vec<OomKills> {
    world.log().iter().filter(|event| event.sandbox_id() == Some(id)).filter_map(oom_kills).collect()
}

#[test]
fn a_death_says_what_the_kernel_added_up_and_what_was_last_measured() {
    let world = World::new();
    let id = &world.create().id;
    let sample = |second: i64, mem_used_bytes| Sample {
        sandbox_id: id.clone(),
        at: world.clock.now() + jiff::SignedDuration::from_secs(second),
        values: Values::NONE
            .with(F::CpuUsed, 1_250)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, mem_used_bytes)
            .with(F::MemTotal, 512 << 20)
            .with(F::MemCache, 0)
            .with(F::DiskUsed, 1)
            .with(F::DiskTotal, 2),
    };
    world
        .run_still(world.store.samples.insert_samples((0..20).map(|n| sample(n, 100 - n as u64)).collect()))
        .unwrap();
    let exit = Exit {
        status: Some(ExitStatus::Code(0)),
        cause: Some(Cause::AgentExited),
        n_oom_kills: Some(0),
        peak_memory_bytes: Some(123),
        cpu_time_usec: Some(456),
    };
    assert!(world.runtime.exit(id, exit.clone()));
    let death = wait_gone(&world, id).fact.death().cloned().unwrap();
    assert_eq!((death.reason, death.exit), (KillReason::Crashed, Some(exit)));
    let samples = death.last_samples.unwrap();
    assert_eq!((samples.n_samples, samples.mem_used_bytes.last, samples.mem_used_bytes.max), (12, 81, 92));
    assert_eq!(samples.cpu_used_centi_pct.max, 1250);
}

#[test]
fn a_kill_that_was_asked_for_says_what_was_used_and_has_no_detail() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.set_load(id, 1.0);
    world.clock.advance(Duration::from_secs(3));
    world.run(world.lifecycle.kill(world.team.id, id, KillReason::Request)).unwrap();
    let exit = world.last_event(id).fact.death().unwrap().exit.clone().unwrap();
    assert_eq!((exit.status, exit.cause), (Some(ExitStatus::Signal(9)), None));
    assert!(exit.cpu_time_usec.is_some_and(|usec| usec >= 3_000_000), "{exit:?}");
}

#[test]
fn processes_killed_for_lack_of_memory_are_told_of_and_grouped() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.lose_processes(id, 2);
    world.wait_still("the first is told at once", async || oom_count(&world).await == 1);
    for _ in 0..50 {
        world.runtime.lose_processes(id, 1);
    }
    world.let_work();
    assert_eq!(oom_events(&world, id), [OomKills { n_new: 2, n_total: 2 }], "not so soon again");
    world.clock.advance(Duration::from_secs(11));
    world.wait_still("the others are told together", async || oom_count(&world).await == 2);
    assert_eq!(oom_events(&world, id)[1], OomKills { n_new: 50, n_total: 52 });
    assert_eq!(world.lifecycle.sandbox(id).unwrap().state.name(), StateName::Running);
    world.pause(id);
    assert_eq!(world.published(id), [Created, OutOfMemory, OutOfMemory, Paused]);
    world.assert_settled();
}

async fn oom_count(world: &World) -> usize {
    let log = sandscope_testbed::whole_log(&world.store, world.team.id).await.unwrap();
    log.iter().filter(|event| event.event_type() == OutOfMemory).count()
}

#[test]
fn a_kill_for_lack_of_memory_is_told_once_over_a_restart_and_a_full_disk() {
    let mut world = World::new();
    let id = world.create().id.clone();
    world.faults.fail_always(Some(fault::Fault::Full));
    let n_tried = world.faults.n_commits();
    world.runtime.lose_processes(&id, 1);
    world.wait("it was tried", async || world.faults.n_commits() > n_tried);
    assert_eq!(world.published(&id), [Created]);
    world.faults.fail_always(None);
    world.wait("it is told", async || oom_count(&world).await > 0);
    world.crash();
    // The runtime may say again what it has said before.
    world.runtime.lose_processes(&id, 0);
    world.let_work();
    assert_eq!(world.published(&id), [Created, OutOfMemory]);
    // One that happened while the server was down is owed.
    world.stop();
    world.runtime.lose_processes(&id, 3);
    world.start().unwrap();
    world.runtime.lose_processes(&id, 0);
    world.wait("it is told", async || oom_count(&world).await >= 2);
    assert_eq!(oom_events(&world, &id)[1], OomKills { n_new: 3, n_total: 4 });
    world.assert_settled();
}

#[test]
fn an_agent_that_stays_silent_is_given_up_and_one_that_comes_back_is_not() {
    let world = World::new();
    let (silent, slow) = (&world.create().id, &world.create().id);
    world.runtime.ail(silent, Some(Ailment::Silent));
    world.runtime.ail(slow, Some(Ailment::Silent));
    world.clock.advance(UPKEEP.health.interval);
    world.let_work();
    world.runtime.ail(slow, None);
    let event = wait_gone(&world, silent);
    assert_eq!(event.kill_reason(), Some(KillReason::AgentLost));
    let exit = event.fact.death().unwrap().exit.clone().unwrap();
    assert_eq!((exit.cause, exit.status), (Some(Cause::AgentSilent), Some(ExitStatus::Signal(9))));
    world.clock.advance(UPKEEP.health.interval * 5);
    world.assert_settled();
    assert!(world.lifecycle.sandbox(slow).is_some());
    assert_eq!(world.published(silent), [Created, Killed]);
}

#[test]
fn one_under_suspicion_is_looked_at_now_and_keeps_nobody_waiting() {
    let world = World::new();
    let (silent, held, free) = (&world.create().id, &world.create().id, &world.create().id);
    world.runtime.ail(free, Some(Ailment::LimitsLost));
    world.lifecycle.suspect(free);
    assert_eq!(wait_gone(&world, free).kill_reason(), Some(KillReason::Crashed));
    world.runtime.ail(silent, Some(Ailment::Silent));
    world.lifecycle.suspect(silent);
    // Less than the interval, in steps shorter than a recheck.
    for _ in 0..80 {
        world.lifecycle.suspect(held);
        world.clock.advance(Duration::from_millis(250));
        world.let_work();
    }
    let gone = async {
        while world.lifecycle.sandbox(silent).is_some() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = world.run(async { tokio::time::timeout(Duration::from_secs(10), gone).await });
    in_time.expect("it is asked again");
    assert_eq!(world.last_event(silent).kill_reason(), Some(KillReason::AgentLost));
    assert!(world.lifecycle.sandbox(held).is_some());
}

#[test]
fn one_that_is_not_held_any_more_is_ended_at_the_first_look() {
    let world = World::new();
    let id = &world.create().id;
    world.runtime.ail(id, Some(Ailment::LimitsLost));
    world.clock.advance(UPKEEP.health.interval);
    world.wait_still("it is ended", async || world.lifecycle.sandbox(id).is_none());
    let event = wait_gone(&world, id);
    assert_eq!(event.kill_reason(), Some(KillReason::Crashed));
    assert_eq!(
        event.fact.death().unwrap().exit.as_ref().and_then(|exit| exit.cause),
        Some(Cause::ControlGroupsRemoved)
    );
}

#[test]
fn a_paused_one_is_not_asked_and_a_lost_one_is_ended_although_the_disk_was_full() {
    let world = World::new();
    let (paused, lost) = (&world.create().id, &world.create().id);
    world.pause(paused);
    world.runtime.ail(paused, Some(Ailment::Silent));
    world.runtime.ail(lost, Some(Ailment::LimitsLost));
    world.faults.fail_always(Some(fault::Fault::Full));
    let n_tried = world.faults.n_commits();
    world.clock.advance(UPKEEP.health.interval);
    world.wait("its end was tried", async || world.faults.n_commits() > n_tried);
    assert!(world.lifecycle.sandbox(lost).is_some());
    world.faults.fail_always(None);
    wait_gone(&world, lost);
    assert!(world.lifecycle.sandbox(paused).is_some());
    assert_eq!(world.published(paused), [Created, Paused]);
}

fn oom_kills(event: &Event) -> Option<OomKills> {
    match event.fact {
        Fact::OutOfMemory(kills) => Some(kills),
        _ => None,
    }
}
