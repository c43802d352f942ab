//! Host and store are brought into agreement while the server runs.

use sandscope_engine::{LaunchSpec, Stray};
use sandscope_model::{
    BuildId, Cause, Entropy, EventType, ExecutionId, KillReason, Rootfs, SandboxId, TemplateId,
};
use sandscope_testbed::{SeededEntropy, Shape};

use crate::world::{UPKEEP, World};

fn stray_spec(seed: u64) -> LaunchSpec {
    let entropy: &dyn Entropy = &SeededEntropy::new(seed);
    LaunchSpec {
        id: SandboxId::generate(entropy),
        execution_id: ExecutionId::generate(entropy),
        template_id: TemplateId::generate(entropy),
        rootfs: Rootfs::Host,
        vcpu_count: 1,
        memory_mb: 1,
        disk_mb: 1,
        env_vars: Default::default(),
        access_token: None,
    }
}

fn stray(kind: &'static str, sandbox: Option<&SandboxId>) -> Stray {
    let name = sandbox.map_or_else(|| "7".to_owned(), SandboxId::to_string);
    Stray { engine: "fake", kind, name, sandbox: sandbox.cloned() }
}

/// Lets the reconciler look twice, a grace apart.
pub(crate) fn let_it_look(world: &World) {
    for _ in 0..2 {
        let n_rounds = world.reconciled.borrow().n_rounds;
        world.clock.advance(UPKEEP.reconcile_every);
        world.wait_still("it has looked", async || world.reconciled.borrow().n_rounds > n_rounds);
        // It waits for the clock again, and drivers have done what it asked of them.
        world.let_work();
    }
}

#[test]
fn what_belongs_to_nothing_is_removed_and_what_lives_is_left_alone() {
    let world = World::new();
    let known = world.create().id.clone();
    let killed = world.create().id.clone();
    world.run(world.lifecycle.kill(world.team.id, &killed, KillReason::Request)).unwrap();
    let before = world.log();
    world.runtime.plant(stray_spec(99), Shape::Running);
    let foreign = stray_spec(98).id;
    for stray in [
        stray("directory", Some(&foreign)),
        stray("groups", Some(&killed)),
        stray("groups", Some(&known)),
        stray("device", None),
    ] {
        world.runtime.stray(stray);
    }
    world.runtime.plant_layer(BuildId::generate(&SeededEntropy::new(97)));
    let_it_look(&world);
    world.assert_settled();
    assert_eq!(world.runtime.shapes().keys().collect::<Vec<_>>(), [&known]);
    assert!(world.runtime.layers().is_empty());
    let left: Vec<Stray> = world.runtime.strays().into_iter().collect();
    assert_eq!(left, [stray("groups", Some(&known))], "what has a driver is its driver's");
    assert_eq!(world.log(), before, "nobody is told of what nobody was promised");
}

#[test]
fn one_of_which_nothing_is_left_is_told_orphaned() {
    let world = World::new();
    let id = world.create().id.clone();
    world.runtime.vanish(&id);
    let_it_look(&world);
    world.wait_still("it is gone", async || world.lifecycle.sandbox(&id).is_none());
    world.assert_settled();
    let event = world.last_event(&id);
    let death = event.fact.death().unwrap();
    assert_eq!(death.reason, KillReason::Orphaned);
    assert_eq!(death.exit.as_ref().and_then(|exit| exit.cause), Some(Cause::Vanished));
    assert_eq!(world.published(&id), [EventType::Created, EventType::Killed]);
}

#[test]
fn a_snapshot_keeps_its_layer_and_one_without_is_said() {
    let world = World::new();
    let id = &world.create().id;
    let (_, kept, _) = world.run_still(world.lifecycle.checkpoint(&world.team, id, None)).unwrap();
    let (_, lost, _) = world.run_still(world.lifecycle.checkpoint(&world.team, id, None)).unwrap();
    let reconciled = world.run_still(async { world.lifecycle.keep_up(UPKEEP) });
    world.run_still(async {
        use sandscope_engine::Engine as _;
        world.runtime.remove_layer(lost.id).await.unwrap();
    });
    for _ in 0..100 {
        if reconciled.borrow().problems.is_empty() {
            let_it_look(&world);
        }
    }
    assert!(world.runtime.layers().contains(&kept.id));
    let status = reconciled.borrow().clone();
    assert!(status.n_rounds > 0 && status.n_settled == 0, "{status:?}");
    assert!(status.problems.iter().any(|problem| problem.contains(&lost.id.to_string())), "{status:?}");
}

#[test]
fn a_nudge_is_a_look_and_a_second_look_changes_nothing() {
    let world = World::new();
    world.create();
    let reconciled = world.run_still(async { world.lifecycle.keep_up(UPKEEP) });
    for n in 1..=3 {
        world.lifecycle.nudge_reconciler();
        world.lifecycle.nudge_reconciler();
        world.wait_still("it has looked", async || reconciled.borrow().n_rounds >= n);
        world.let_work();
    }
    assert_eq!((reconciled.borrow().n_settled, reconciled.borrow().n_open), (0, 0));
}
