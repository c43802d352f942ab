//! Random histories: whatever is asked, fails, dies and crashes in whatever order, the log tells exactly what is.

use std::time::Duration;

use proptest::prelude::*;
use sandscope_engine::Ailment;
use sandscope_model::{Exit, ExitStatus, KillReason, OnTimeout, SandboxId};
use sandscope_store::fault;
use sandscope_testbed::{Fault, Trigger};

use crate::world::{LONG, World, request};

#[derive(Debug, Clone, Copy)]
enum Step {
    Create {
        timeout_s: u64,
        on_timeout: OnTimeout,
    },
    Pause(usize),
    Resume(usize),
    Connect(usize, u64),
    SetTimeout(usize, u64),
    Checkpoint(usize),
    Kill(usize),
    Exit(usize),
    OutOfMemory(usize),
    /// The kernel kills a child for lack of memory.
    LoseProcess(usize),
    /// Its agent falls silent for good.
    FallSilent(usize),
    Advance(u64),
    /// The next calls of the runtime meet this.
    RuntimeFault(u64, Fault),
    /// One of the next commits fails.
    StoreFault(u64),
    Crash,
    HostRestart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let which = 0_usize..6;
    let time = 1_u64..120;
    prop_oneof![
        4 => (time.clone(), prop::bool::ANY).prop_map(|(timeout_s, pause)| Step::Create {
            timeout_s,
            on_timeout: if pause { OnTimeout::Pause } else { OnTimeout::Kill },
        }),
        4 => which.clone().prop_map(Step::Pause),
        4 => which.clone().prop_map(Step::Resume),
        2 => (which.clone(), time.clone()).prop_map(|(n, s)| Step::Connect(n, s)),
        1 => (which.clone(), 0_u64..120).prop_map(|(n, s)| Step::SetTimeout(n, s)),
        1 => which.clone().prop_map(Step::Checkpoint),
        2 => which.clone().prop_map(Step::Kill),
        1 => which.clone().prop_map(Step::Exit),
        1 => which.clone().prop_map(Step::OutOfMemory),
        1 => which.clone().prop_map(Step::LoseProcess),
        1 => which.prop_map(Step::FallSilent),
        2 => (0_u64..90).prop_map(Step::Advance),
        3 => (0_u64..3, prop::sample::select(vec![
            Fault::Fail, Fault::FailAfterEffect, Fault::HaltBefore, Fault::HaltAfter,
        ])).prop_map(|(n, fault)| Step::RuntimeFault(n, fault)),
        2 => (1_u64..4).prop_map(Step::StoreFault),
        2 => Just(Step::Crash),
        1 => Just(Step::HostRestart),
    ]
}

/// Does one step. Whether it is answered with a success, a refusal or a failure is not the point here; that the server
/// may be stopped dead in the middle of it is.
fn take(world: &mut World, made: &mut Vec<SandboxId>, step: Step) {
    let id = |n: usize| made.get(n % made.len().max(1)).cloned();
    let (lifecycle, team) = (world.lifecycle.clone(), world.team.clone());
    let asked = match step {
        Step::Create { timeout_s, on_timeout } => {
            let mut wanted = request();
            wanted.timeout = Duration::from_secs(timeout_s);
            wanted.on_timeout = on_timeout;
            let created = world.run_until_halt(lifecycle.create(&team, wanted));
            if let Some(Ok(created)) = &created {
                made.push(created.sandbox.id.clone());
            }
            created.map(drop)
        }
        Step::Pause(n) => {
            id(n).map_or(Some(()), |id| world.run_until_halt(lifecycle.pause(team.id, &id)).map(drop))
        }
        Step::Resume(n) => {
            id(n).map_or(Some(()), |id| world.run_until_halt(lifecycle.resume(&team, &id, LONG)).map(drop))
        }
        Step::Connect(n, s) => id(n).map_or(Some(()), |id| {
            world.run_until_halt(lifecycle.connect(&team, &id, Duration::from_secs(s))).map(drop)
        }),
        Step::SetTimeout(n, s) => id(n).map_or(Some(()), |id| {
            world.run_until_halt(lifecycle.set_timeout(&team, &id, Duration::from_secs(s))).map(drop)
        }),
        Step::Checkpoint(n) => id(n)
            .map_or(Some(()), |id| world.run_until_halt(lifecycle.checkpoint(&team, &id, None)).map(drop)),
        Step::Kill(n) => id(n).map_or(Some(()), |id| {
            world.run_until_halt(lifecycle.kill(team.id, &id, KillReason::Request)).map(drop)
        }),
        Step::Exit(n) => {
            let exit = Exit { status: Some(ExitStatus::Code(1)), ..Exit::default() };
            id(n).map(|id| world.runtime.exit(&id, exit));
            Some(())
        }
        Step::OutOfMemory(n) => {
            id(n).map(|id| world.runtime.run_out_of_memory(&id));
            Some(())
        }
        Step::LoseProcess(n) => {
            if let Some(id) = id(n) {
                world.runtime.lose_processes(&id, 1);
            }
            Some(())
        }
        Step::FallSilent(n) => {
            if let Some(id) = id(n) {
                world.runtime.ail(&id, Some(Ailment::Silent));
            }
            Some(())
        }
        Step::Advance(s) => {
            world.clock.advance(Duration::from_secs(s));
            Some(())
        }
        Step::RuntimeFault(n, fault) => {
            world.runtime.inject(Trigger::Nth(n), fault);
            Some(())
        }
        Step::StoreFault(n) => {
            world.faults.fail_commit(world.faults.n_commits() + n, fault::Fault::Full);
            Some(())
        }
        Step::Crash => None,
        Step::HostRestart => {
            world.stop();
            world.runtime.restart_host();
            world.start().unwrap();
            Some(())
        }
    };
    if asked.is_none() || world.runtime.is_halted() {
        world.crash();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_log_tells_exactly_what_is(steps in prop::collection::vec(any_step(), 1..40)) {
        let mut world = World::with_limit(4);
        let mut made = Vec::new();
        for step in steps {
            take(&mut world, &mut made, step);
        }
        // A fault planned for later may still stop the server while it settles.
        world.runtime.heal();
        if world.runtime.is_halted() {
            world.crash();
        }
        world.assert_settled();
        let before = world.log();
        world.crash();
        world.assert_settled();
        let after = world.log();
        prop_assert!(after.starts_with(&before));
        // Whatever lives can be ended, and its place is free again; also what nobody was told of any more.
        let told: std::collections::BTreeSet<SandboxId> =
            after.iter().filter_map(|event| event.sandbox_id().cloned()).collect();
        for id in &told {
            if world.lifecycle.sandbox(id).is_some() {
                world.run(world.lifecycle.kill(world.team.id, id, KillReason::Request)).ok();
            }
        }
        world.assert_settled();
        for _ in 0..4 {
            world.create();
        }
    }

    /// Requests that arrive together are answered one by one: as many events as successes.
    #[test]
    fn requests_that_arrive_together_do_not_mix(asked in prop::collection::vec(0_u8..6, 1..12)) {
        let world = World::new();
        let id = world.create().id.clone();
        let n_done = world.run_still(async {
            let mut tasks = tokio::task::JoinSet::new();
            for kind in asked {
                let (lifecycle, team, id) = (world.lifecycle.clone(), world.team.clone(), id.clone());
                tasks.spawn(async move {
                    match kind {
                        0 => lifecycle.pause(team.id, &id).await.is_ok(),
                        1 => lifecycle.resume(&team, &id, LONG).await.is_ok(),
                        2 => lifecycle.connect(&team, &id, LONG).await.is_ok(),
                        3 => lifecycle.set_timeout(&team, &id, LONG).await.is_ok(),
                        4 => lifecycle.checkpoint(&team, &id, None).await.is_ok(),
                        _ => lifecycle.refresh(&team, &id, LONG).await.is_ok(),
                    }
                });
            }
            tasks.join_all().await.into_iter().filter(|done| *done).count()
        });
        world.assert_settled();
        prop_assert_eq!(world.log().len(), n_done + 1);
    }
}
