//! Alerts: when they are told, how often, and what survives.

use sandscope_model::{AlertBy, AlertMetric, AlertRule, AlertSide, EventType};
use sandscope_sampler::Live;

use crate::house::House;

fn busy() -> AlertRule {
    AlertRule {
        name: "busy".to_owned(),
        metric: AlertMetric::CpuPct,
        side: AlertSide::Above,
        threshold: 40.0,
        clear: 20.0,
        for_s: 3,
        within_s: 0,
        by: AlertBy::Sandbox,
    }
}

#[tokio::test]
async fn an_alert_is_told_once_survives_a_restart_and_resolves() {
    let mut house = House::new().await;
    house.live = Some(Live::default());
    house.rules = vec![busy()];
    let id = house.sandbox(2).await;
    house.start().await;
    house.seconds(6).await;
    assert_eq!(house.told().await, []);
    house.runtime.set_load(&id, 1.0);
    let firing = (EventType::AlertFiring, "busy".to_owned());
    assert_eq!(house.wait_told(1).await, std::slice::from_ref(&firing));
    house.seconds(6).await;

    // Another server over the same store.
    house.stop().await;
    house.live = Some(Live::default());
    house.start().await;
    house.seconds(8).await;
    assert_eq!(house.told().await, std::slice::from_ref(&firing), "told once, also after a restart");
    assert_eq!(house.store.firing_alerts(house.team.id, 9).await.unwrap().len(), 1);
    house.runtime.set_load(&id, 0.0);
    assert_eq!(house.wait_told(2).await, [firing, (EventType::AlertResolved, "busy".to_owned())]);
    assert_eq!(house.store.firing_alerts(house.team.id, 9).await.unwrap(), []);
}

#[tokio::test]
async fn an_alert_whose_rule_is_gone_resolves_at_the_next_start() {
    let mut house = House::new().await;
    house.live = Some(Live::default());
    house.rules = vec![busy()];
    let id = house.sandbox(2).await;
    house.runtime.set_load(&id, 2.0);
    house.start().await;
    house.wait_told(1).await;
    house.stop().await;
    house.live = Some(Live::default());
    house.rules = vec![AlertRule { name: "other".to_owned(), threshold: 101.0, clear: 101.0, ..busy() }];
    house.start().await;
    let told = house.wait_told(2).await;
    assert_eq!(told[1], (EventType::AlertResolved, "busy".to_owned()));
}
