//! What retention removes beside webhooks, and what it never removes.

use std::collections::BTreeSet;

use crate::support::{House, at, draft};
use proptest::prelude::*;
use sandscope_model::{EventType, KillReason, State, Webhook};
use sandscope_store::{Change, DeliveryProgress};

use crate::deliveries::{exception, webhook};

#[tokio::test]
async fn webhooks_of_a_sandbox_go_with_it_once_everything_is_delivered() {
    let house = House::new().await;
    let hour = 3600;
    let mut sandbox = house.running(0).await;
    let mut hook = webhook(&house.team);
    hook.options.sandbox_id = Some(sandbox.id.clone());
    house.store.deliveries.insert_sandbox_webhooks(sandbox.id.clone(), vec![hook.clone()]).await.unwrap();
    let own = webhook(&house.team);
    house.store.deliveries.insert_webhook(own.clone(), 10).await.unwrap();
    let left_at = async |seconds| {
        house.store.facts.delete_expired(at(seconds)).await.unwrap();
        let left = house.store.deliveries.webhooks(house.team.id).await.unwrap();
        left.iter().map(|one| one.id).collect::<BTreeSet<_>>()
    };
    let (both, one) = (BTreeSet::from([hook.id, own.id]), BTreeSet::from([own.id]));
    let all = DeliveryProgress { cursor: Some(2), ..DeliveryProgress::of(hook.id) };
    assert_eq!(left_at(2 * hour).await, both, "it runs");
    sandbox.state = State::Killed {
        reason: KillReason::Request,
        exit: None,
        killed_at: at(1),
        last_execution_id: sandbox.state.execution_id(),
    };
    let event = Some(draft(&sandbox, EventType::Killed, at(1)));
    house.store.facts.commit(Change { sandbox, event, snapshot: None }).await.unwrap();
    assert_eq!(left_at(2 * hour).await, both, "its end is owed");
    let given_up = DeliveryProgress { set: vec![exception(hook.id, 2, None)], ..all.clone() };
    house.store.deliveries.record_deliveries(given_up).await.unwrap();
    assert_eq!(left_at(2 * hour).await, both, "its end can be sent again");
    let resent = DeliveryProgress { clear: vec![2], ..DeliveryProgress::of(hook.id) };
    house.store.deliveries.record_deliveries(resent).await.unwrap();
    assert_eq!(left_at(hour / 2).await, both, "somebody may want to look at its deliveries");
    assert_eq!(left_at(2 * hour).await, one);
}

#[tokio::test]
async fn retention_never_removes_what_a_webhook_still_has_to_deliver() {
    let house = House::new().await;
    let hook = webhook(&house.team);
    let id = hook.id;
    house.store.deliveries.insert_webhook(hook.clone(), 10).await.unwrap();
    let mut sandbox = house.running(0).await;
    for second in 1..700 {
        house.update(&mut sandbox, second).await;
    }
    let day = 24 * 3600;
    let remove = async |seconds| house.store.facts.delete_expired(at(seconds)).await.unwrap().events;
    let oldest = async || {
        house
            .store
            .events
            .events_after(house.team.id, 0, 1)
            .await
            .unwrap()
            .first()
            .map(|event| event.sequence)
    };
    // Nothing is old enough.
    assert_eq!(remove(day).await, 0);
    // Everything is, but the cursor has passed nothing.
    assert_eq!(remove(8 * day).await, 0);
    let progress = DeliveryProgress {
        cursor: Some(690),
        set: vec![exception(id, 600, Some(10)), exception(id, 3, None)],
        ..DeliveryProgress::of(id)
    };
    house.store.deliveries.record_deliveries(progress).await.unwrap();
    assert_eq!(remove(8 * day).await, 599);
    assert_eq!(oldest().await, Some(600));
    let progress = DeliveryProgress { set: vec![exception(id, 600, None)], ..DeliveryProgress::of(id) };
    house.store.deliveries.record_deliveries(progress).await.unwrap();
    assert_eq!(remove(8 * day).await, 91);
    // A disabled webhook holds nothing back.
    house.store.deliveries.update_webhook(Webhook { enabled: false, ..hook }).await.unwrap();
    assert_eq!(remove(7 * day + 695).await, 5);
    assert_eq!(oldest().await, Some(696));
    assert_eq!(house.store.events.last_sequence(house.team.id).await.unwrap(), 700);
    assert_eq!(house.update(&mut sandbox, 800).await, 701);
}

/// One webhook of a random history: its cursor, whether it is enabled, and an exception with or without attempts left.
type Hook = (u64, bool, Option<(u64, bool)>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the webhooks are and whatever is old: exactly the events before the first one that is young or still
    /// needed are gone.
    #[test]
    fn retention_cuts_the_log_at_the_first_event_that_is_young_or_needed(
        ages_days in prop::collection::vec(0_i64..20, 1..20),
        hooks in prop::collection::vec(
            (0_u64..22, prop::bool::ANY, prop::option::of((1_u64..22, prop::bool::ANY))), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(retention_cuts(ages_days, hooks));
    }
}

async fn retention_cuts(ages_days: Vec<i64>, hooks: Vec<Hook>) {
    let house = House::new().await;
    let mut needed = u64::MAX;
    for (cursor, enabled, set) in hooks {
        let hook = Webhook { enabled, ..webhook(&house.team) };
        let webhook_id = hook.id;
        house.store.deliveries.insert_webhook(hook, 10).await.unwrap();
        let pending = set.filter(|(_, pending)| *pending).map(|(sequence, _)| sequence);
        if enabled {
            needed = needed.min(cursor + 1).min(pending.unwrap_or(u64::MAX));
        }
        let set = set.map(|(sequence, pending)| exception(webhook_id, sequence, pending.then_some(1)));
        let set = set.into_iter().collect();
        let progress = DeliveryProgress { cursor: Some(cursor), set, ..DeliveryProgress::of(webhook_id) };
        house.store.deliveries.record_deliveries(progress).await.unwrap();
    }
    let day = 24 * 3600;
    let mut sandbox = house.admit_without_event(0).await;
    for age in &ages_days {
        house.update(&mut sandbox, (20 - age) * day).await;
    }
    house.store.facts.delete_expired(at(20 * day)).await.unwrap();
    let first_kept = (1_u64..)
        .zip(&ages_days)
        .find(|(sequence, age)| **age <= 7 || *sequence >= needed)
        .map(|(sequence, _)| sequence);
    let left = house.store.events.events_after(house.team.id, 0, 100).await.unwrap();
    assert_eq!(left.first().map(|event| event.sequence), first_kept);
    let n_kept = first_kept.map_or(0, |first| u64::try_from(ages_days.len()).unwrap() + 1 - first);
    assert_eq!(u64::try_from(left.len()).unwrap(), n_kept);
}
