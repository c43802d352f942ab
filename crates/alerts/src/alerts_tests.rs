//! Rules on events, usage and webhooks over the real store, a second at a time, with servers that end at any moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sandscope_model::{
    AlertBy, AlertChange, AlertMetric, AlertRule, Clock as _, EventType, Fact, KillReason, MetricField as F,
    Sandbox, Timestamp, Values, WebhookHealth,
};
use sandscope_store::DeliveryProgress;

use super::house::{House, crash_loop, published, rule, template};
use super::*;

#[tokio::test]
async fn deaths_are_counted_for_each_template_and_label_and_only_those_nobody_asked_for() {
    let by_user = rule("by-user", AlertMetric::Crashes, 2.0, 60, AlertBy::Label("user".to_owned()));
    let memory = rule("memory", AlertMetric::OutOfMemory, 1.0, 60, AlertBy::Team);
    let mut house = House::new(vec![crash_loop(), by_user, memory]).await;
    house.round().await.unwrap();
    let ann = [("user", "ann")];
    house.die(1, &ann, KillReason::Crashed).await;
    house.die(1, &[], KillReason::Request).await;
    house.die(1, &[("user", "bob")], KillReason::AgentLost).await;
    house.die(2, &ann, KillReason::Timeout).await;
    house.round().await.unwrap();
    assert_eq!(house.published().await, []);
    house.die(2, &ann, KillReason::Crashed).await;
    house.round().await.unwrap();
    let mut expected = vec![published(true, "by-user", "metadata.user=ann")];
    assert_eq!(house.published().await, expected);
    house.clock.advance(Duration::from_secs(30));
    house.die(1, &[], KillReason::Oom).await;
    house.round().await.unwrap();
    expected.push(published(true, "crash-loop", &format!("template:{}", template(1))));
    expected.push(published(true, "memory", "team"));
    assert_eq!(house.published().await, expected);
    // The first three are over; of the second, one is not.
    house.clock.advance(Duration::from_secs(30));
    house.round().await.unwrap();
    house.clock.advance(Duration::from_secs(30));
    house.round().await.unwrap();
    let all = house.published().await;
    assert_eq!(all.len(), 6, "{all:?}");
    assert!(all[3..].iter().all(|(is_firing, ..)| !is_firing), "{all:?}");
    assert_eq!(all[5].1, "memory", "the youngest lasts longest");
    let events = house.options.events.events_after(house.team, 0, 1_000).await.unwrap();
    let first = events.iter().find(|event| event.event_type() == EventType::AlertFiring).unwrap();
    assert_eq!(
        first.sandbox().unwrap().template_id,
        template(2),
        "it is about the death that came to the threshold"
    );
}

#[tokio::test]
async fn what_came_to_its_threshold_while_the_server_was_down_is_told() {
    let mut house = House::new(vec![crash_loop()]).await;
    house.round().await.unwrap();
    for _ in 0..3 {
        house.die(1, &[], KillReason::Crashed).await;
    }
    house.clock.advance(Duration::from_secs(3_600));
    house.restart().await;
    house.round().await.unwrap();
    house.restart().await;
    house.round().await.unwrap();
    let all = house.published().await;
    assert_eq!(all.iter().map(|(is_firing, ..)| *is_firing).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_rule_holds_at_once_and_what_it_fired_resolves_when_it_is_changed_or_gone() {
    let mut house = House::new(Vec::new()).await;
    for _ in 0..3 {
        house.die(1, &[], KillReason::Crashed).await;
    }
    house.round().await.unwrap();
    let own = house.own(crash_loop()).await;
    house.alerts.read_rules().await.unwrap();
    house.round().await.unwrap();
    let subject = format!("template:{}", template(1));
    let mut expected = vec![published(true, "crash-loop", &subject)];
    assert_eq!(house.published().await, expected, "what has happened already counts");

    let options = house.options.clone();
    let changed = AlertRule { threshold: 2.0, clear: 2.0, ..crash_loop() };
    let (at, entropy) = (house.clock.now(), Arc::clone(&house.options.entropy));
    options.alerts.update_alert_rule(house.team, own.id, changed, at, Arc::clone(&entropy)).await.unwrap();
    expected.push(published(false, "crash-loop", &subject));
    assert_eq!(house.published().await, expected, "in the same transaction");
    // Still by the old revision: it decides nothing any more.
    house.die(1, &[], KillReason::Crashed).await;
    house.round().await.unwrap();
    assert_eq!(house.published().await, expected);
    house.alerts.read_rules().await.unwrap();
    house.round().await.unwrap();
    expected.push(published(true, "crash-loop", &subject));
    assert_eq!(house.published().await, expected, "it still has to fire");
    assert!(options.alerts.delete_alert_rule(house.team, own.id, at, entropy).await.unwrap());
    house.alerts.read_rules().await.unwrap();
    house.round().await.unwrap();
    expected.push(published(false, "crash-loop", &subject));
    assert_eq!(house.published().await, expected);
    assert_eq!(options.alerts.alert_cursor(house.team).await.unwrap(), None, "nothing is followed");
}

#[tokio::test]
async fn a_budget_fires_when_it_is_used_up_and_resolves_when_that_is_long_ago() {
    let hours = rule("hours", AlertMetric::VcpuHours, 3.0, 4 * 3600, AlertBy::Team);
    let cost = rule("cost", AlertMetric::Cost, 2.0, 4 * 3600, AlertBy::Team);
    let mut house = House::new(vec![hours, cost]).await;
    let (first, second) = (house.sandbox(1, &[]).await, house.sandbox(1, &[]).await);
    house.clock.advance(Duration::from_secs(1_800));
    house.end(first, KillReason::Request).await;
    house.metered().await;
    assert_eq!(house.published().await, [], "two CPUs for half an hour, twice");
    house.clock.advance(Duration::from_secs(1_800));
    house.metered().await;
    let mut expected = vec![published(true, "hours", "team")];
    assert_eq!(house.published().await, expected);
    house.restart().await;
    house.clock.advance(Duration::from_secs(1_800));
    house.metered().await;
    expected.push(published(true, "cost", "team"));
    assert_eq!(house.published().await, expected, "four hours at a half each");
    house.end(second, KillReason::Request).await;
    house.metered().await;
    house.clock.advance(Duration::from_secs(4 * 3600));
    house.metered().await;
    house.clock.advance(Duration::from_secs(3600));
    house.metered().await;
    let resolved = house.published().await;
    assert_eq!(resolved.len(), 4, "{resolved:?}");
    assert!(resolved[2..].iter().all(|(is_firing, ..)| !is_firing), "{resolved:?}");
}

#[tokio::test]
async fn a_webhook_that_fails_for_long_fires_until_it_is_well_or_gone() {
    let failing = rule("failing", AlertMetric::WebhookFailingS, 300.0, 0, AlertBy::Webhook);
    let behind = rule("behind", AlertMetric::WebhookBehind, 2.0, 0, AlertBy::Webhook);
    let mut house = House::new(vec![failing, behind]).await;
    let options = house.options.clone();
    let id = house.webhook().await;
    let running = house.sandbox(1, &[]).await;
    let health =
        |failing_since: Option<Timestamp>| WebhookHealth { failing_since, ..WebhookHealth::default() };
    let progress = |health, cursor| DeliveryProgress {
        health: Some(health),
        cursor: Some(cursor),
        ..DeliveryProgress::of(id)
    };
    options.deliveries.record_deliveries(progress(health(Some(house.clock.now())), 1)).await.unwrap();
    house.metered().await;
    assert_eq!(house.published().await, []);
    house.clock.advance(Duration::from_secs(300));
    house.metered().await;
    let subject = format!("webhook:{id}");
    let mut expected = vec![published(true, "failing", &subject)];
    assert_eq!(house.published().await, expected);
    house.restart().await;
    house.end(running, KillReason::Request).await;
    house.metered().await;
    expected.push(published(true, "behind", &subject));
    assert_eq!(house.published().await, expected);
    options.deliveries.record_deliveries(progress(health(None), 4)).await.unwrap();
    house.metered().await;
    expected.push(published(false, "failing", &subject));
    expected.push(published(false, "behind", &subject));
    assert_eq!(house.published().await, expected);
    house.die(2, &[], KillReason::Request).await;
    house.metered().await;
    options.deliveries.delete_webhook(house.team, id).await.unwrap();
    house.metered().await;
    expected.push(published(true, "behind", &subject));
    expected.push(published(false, "behind", &subject));
    assert_eq!(house.published().await, expected);
    assert_eq!(options.alerts.firing_alerts(house.team, 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_host_whose_disk_is_short_fires_for_the_team_until_there_is_room() {
    let mut house = House::new(vec![rule("disk", AlertMetric::HostDiskShort, 1.0, 0, AlertBy::Team)]).await;
    house.metered().await;
    assert_eq!(house.published().await, []);
    house.disk_is_short.store(true, Ordering::Release);
    house.metered().await;
    house.metered().await;
    let mut expected = vec![published(true, "disk", "team")];
    assert_eq!(house.published().await, expected);
    house.restart().await;
    house.metered().await;
    house.disk_is_short.store(false, Ordering::Release);
    house.metered().await;
    expected.push(published(false, "disk", "team"));
    assert_eq!(house.published().await, expected);
}

#[tokio::test]
async fn an_alert_of_a_team_without_events_is_the_first_event_of_its_log_and_borrows_no_sandbox() {
    let failing = rule("failing", AlertMetric::WebhookFailingS, 300.0, 0, AlertBy::Webhook);
    let mut house = House::new(vec![failing]).await;
    let options = house.options.clone();
    let id = house.webhook().await;
    let health = WebhookHealth { failing_since: Some(house.clock.now()), ..WebhookHealth::default() };
    options
        .deliveries
        .record_deliveries(DeliveryProgress { health: Some(health), ..DeliveryProgress::of(id) })
        .await
        .unwrap();
    assert!(
        options.events.events_after(house.team, 0, 10).await.unwrap().is_empty(),
        "nothing ever happened"
    );
    house.clock.advance(Duration::from_secs(300));
    house.metered().await;
    let events = options.events.events_after(house.team, 0, 10).await.unwrap();
    let [event] = &events[..] else { panic!("one event: {events:?}") };
    let Fact::Alert { change: AlertChange::Firing, notice } = &event.fact else { panic!("{event:?}") };
    assert_eq!((event.sequence, event.subject.key().to_string()), (1, format!("webhook:{id}")));
    assert_eq!((notice.rule.as_str(), &notice.sandbox), ("failing", &None));
    house.restart().await;
    house.metered().await;
    assert_eq!(house.published().await.len(), 1, "reported once");
}

#[tokio::test]
async fn what_must_last_for_long_goes_on_over_a_restart() {
    let busy = AlertRule {
        for_s: 60,
        by: AlertBy::Sandbox,
        ..rule("busy", AlertMetric::CpuPct, 90.0, 0, AlertBy::Sandbox)
    };
    let mut house = House::new(vec![busy]).await;
    let (long, short) = (house.sandbox(1, &[]).await, house.sandbox(1, &[]).await);
    let sample = |sandbox: &Sandbox, at: Timestamp, cpu_used: u64| sandscope_model::Sample {
        sandbox_id: sandbox.id.clone(),
        at,
        values: Values::NONE
            .with(F::CpuUsed, cpu_used)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, 1)
            .with(F::MemTotal, 2)
            .with(F::MemCache, 0)
            .with(F::DiskUsed, 1)
            .with(F::DiskTotal, 2),
    };
    // What the server before stored: one was busy all the time, the other rested once.
    for n in 0..11 {
        let at = house.clock.now();
        let rest = if n == 5 { 100 } else { 9_900 };
        house
            .options
            .samples
            .insert_samples(vec![sample(&long, at, 9_900), sample(&short, at, rest)])
            .await
            .unwrap();
        house.clock.advance(Duration::from_secs(5));
    }
    house.restart().await;
    house.clock.advance(Duration::from_secs(5));
    let team_id = house.team;
    let point = |sandbox, at| sandscope_sampler::LivePoint {
        team_id,
        sample: sample(sandbox, at, 9_900),
        totals: Values::NONE,
        pressures: None,
    };
    let at = house.clock.now();
    let round =
        LiveRound { at, uptime: house.clock.uptime(), points: vec![point(&long, at), point(&short, at)] };
    house.alerts.round(&round, 1).await.unwrap();
    let subject = format!("sandbox:{}", long.id);
    assert_eq!(
        house.published().await,
        [published(true, "busy", &subject)],
        "a minute, and a restart within it"
    );
}

#[tokio::test]
async fn a_step_of_the_wall_clock_hides_no_alert_and_makes_none() {
    for step in [-3_600_000, 7_200_000, -600_000].map(jiff::SignedDuration::from_millis) {
        let busy = rule("busy", AlertMetric::CpuPct, 90.0, 0, AlertBy::Sandbox);
        let mut house = House::new(vec![AlertRule { for_s: 60, ..busy }, crash_loop()]).await;
        let sandbox = house.sandbox(1, &[]).await;
        house.round().await.unwrap();
        let mut fired_after = None;
        for second in 0..70 {
            if second == 29 {
                house.die(2, &[], KillReason::Crashed).await;
                house.die(2, &[], KillReason::Crashed).await;
            }
            if second == 30 {
                house.clock.step_wall(step);
            }
            let sample = sandscope_model::Sample {
                sandbox_id: sandbox.id.clone(),
                at: house.clock.now(),
                values: Values::NONE.with(F::CpuUsed, 9_900).with(F::CpuCount, 2),
            };
            let (team_id, totals, pressures) = (house.team, Values::NONE, None);
            let point = sandscope_sampler::LivePoint { team_id, sample, totals, pressures };
            let (at, uptime) = (house.clock.now(), house.clock.uptime());
            house.alerts.round(&LiveRound { at, uptime, points: vec![point] }, 1).await.unwrap();
            if fired_after.is_none() && !house.published().await.is_empty() {
                fired_after = Some(second);
            }
            house.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(fired_after, Some(60), "{step}");
        // The third death, 46 s after the first two; and when a minute is over, so is it.
        house.clock.advance(Duration::from_secs(5));
        house.die(2, &[], KillReason::Crashed).await;
        house.round().await.unwrap();
        let crashing = format!("template:{}", template(2));
        assert_eq!(house.published().await.last(), Some(&published(true, "crash-loop", &crashing)), "{step}");
        house.clock.advance(Duration::from_secs(61));
        house.round().await.unwrap();
        assert_eq!(
            house.published().await.last(),
            Some(&published(false, "crash-loop", &crashing)),
            "{step}"
        );
    }
}
