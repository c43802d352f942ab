//! Several machines share a store: each looks after its own sandboxes.

use std::sync::Arc;

use sandscope_model::{Clock as _, KillReason, NodeId, StateName};
use sandscope_testbed::{FakeEngine, FarFacts, SeededEntropy, Shape};

use crate::reconciling::let_it_look;
use crate::world::{World, request, start};

#[test]
fn rows_of_another_node_are_left_alone_by_a_start_by_the_reconciler_and_by_retention() {
    let mut world = World::new();
    let mine = world.create().id.clone();
    let ended = world.create().id.clone();
    world.run(world.lifecycle.kill(world.team.id, &ended, KillReason::Request)).unwrap();

    let elsewhere = FakeEngine::new(Arc::new(world.clock.clone()));
    let node = NodeId::generate(&SeededEntropy::new(5));
    let (lives_there, ended_there, layer_there) = world.run_still(async {
        let store = world.store.on_behalf_of_node(node).await.unwrap();
        assert_eq!(store.facts.node().await.unwrap(), node);
        assert_ne!(world.store.facts.node().await.unwrap(), node);
        let (there, _, _tasks) =
            start(&elsewhere, &FarFacts::new(store.clone()), &world.clock, &world.entropy).await.unwrap();
        let lives = there.create(&world.team, request()).await.unwrap().sandbox.id.clone();
        let (_, build, _) = there.checkpoint(&world.team, &lives, None).await.unwrap();
        let ends = there.create(&world.team, request()).await.unwrap().sandbox.id.clone();
        there.kill(world.team.id, &ends, KillReason::Request).await.unwrap();
        assert_eq!(store.facts.live_sandboxes().await.unwrap().len(), 1);
        assert_eq!(store.facts.captured_layers().await.unwrap(), [build.id]);
        (lives, ends, build.id)
    });
    // Of a layer there is no telling whose it is but by its row.
    world.runtime.plant_layer(layer_there);
    let before = world.log();
    world.crash();
    world.let_work();
    let_it_look(&world);

    assert_eq!(world.log(), before, "nothing is reported of another node's sandboxes");
    assert_eq!(world.runtime.shapes().keys().collect::<Vec<_>>(), [&mine]);
    assert_eq!(elsewhere.shapes().get(&lives_there), Some(&Shape::Running));
    assert!(world.runtime.layers().contains(&layer_there) && elsewhere.layers().contains(&layer_there));
    assert!(world.reconciled.borrow().problems.is_empty(), "{:?}", world.reconciled.borrow());
    world.run_still(async {
        let row = world.store.facts.sandbox(&lives_there).await.unwrap().unwrap();
        assert_eq!(row.state.name(), StateName::Running);
        let in_years = world.clock.now().checked_add(jiff::SignedDuration::from_hours(24_000)).unwrap();
        world.store.facts.delete_expired(in_years).await.unwrap();
        assert!(world.store.facts.sandbox(&ended).await.unwrap().is_none());
        assert!(world.store.facts.sandbox(&ended_there).await.unwrap().is_some());
    });
}
