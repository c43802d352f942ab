use std::collections::BTreeMap;

use sandscope_model::{EventType, EventTypes, SandboxRef, Secret, WebhookOptions};
use sandscope_testbed::SeededEntropy;

use super::*;

fn at(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}

fn webhook() -> Webhook {
    Webhook {
        id: uuid::Uuid::from_u128(1).into(),
        team_id: uuid::Uuid::from_u128(2).into(),
        name: "hook".to_owned(),
        url: "https://example.com/".to_owned(),
        events: EventTypes::from(EventType::ALL),
        enabled: true,
        signature_secret: Secret::new("secret".to_owned()),
        previous_secret: None,
        headers: BTreeMap::new(),
        options: WebhookOptions::default(),
        created_at: at(0),
    }
}

fn event(kind: EventType) -> Event {
    let id = uuid::Uuid::from_u128;
    let sandbox = SandboxRef {
        id: "i00000000000000000001".parse().unwrap(),
        execution_id: id(4).into(),
        template_id: "00000000000000000000".parse().unwrap(),
        build_id: id(5).into(),
        metadata: [].into(),
    };
    let draft = EventDraft::example(kind, (id(3).into(), id(2).into()), sandbox, at(0));
    Event { sequence: 1, draft }
}

fn published(news: &News) -> Vec<EventType> {
    news.notices.iter().map(EventDraft::event_type).collect()
}

const PATIENCE: Option<Duration> = Some(Duration::from_secs(3_600));

#[test]
fn a_bad_spell_is_told_once_and_its_end_too() {
    let (hook, event, entropy) = (webhook(), event(EventType::Created), SeededEntropy::new(1));
    let mut watch = Watch::new(WebhookHealth::default());
    for n in 0..20 {
        watch.failed(&hook, &event, PATIENCE, at(n), &entropy);
        watch.exhausted(&hook, &event, at(n), &entropy);
        watch.behind(&hook, &event, at(n), &entropy);
    }
    let news = watch.take();
    assert_eq!(published(&news), [EventType::WebhookExhausted, EventType::WebhookLagging]);
    let health = news.health.unwrap();
    assert_eq!((health.failing_since, health.n_failed), (Some(at(0)), 20));
    let mut again = Watch::new(health);
    again.exhausted(&hook, &event, at(30), &entropy);
    assert!(again.take().is_empty(), "a restart does not publish it again");
    again.delivered(&hook, &event, true, at(31), &entropy);
    assert_eq!(published(&again.take()), [], "something is still pending for long");
    again.delivered(&hook, &event, false, at(32), &entropy);
    let news = again.take();
    assert_eq!(published(&news), [EventType::WebhookRecovered]);
    assert_eq!(news.health, Some(WebhookHealth::default()));
    again.delivered(&hook, &event, false, at(33), &entropy);
    assert!(again.take().is_empty());
}

#[test]
fn failing_for_too_long_disables_and_a_single_success_starts_the_time_anew() {
    let (hook, event, entropy) = (webhook(), event(EventType::Created), SeededEntropy::new(1));
    let mut watch = Watch::new(WebhookHealth::default());
    for n in 0..100 {
        watch.failed(&hook, &event, PATIENCE, at(n * 60), &entropy);
        if n % 50 == 49 {
            watch.delivered(&hook, &event, false, at(n * 60), &entropy);
        }
    }
    assert!(!watch.is_disabling());
    for n in 100..161 {
        assert!(!watch.is_disabling());
        watch.failed(&hook, &event, PATIENCE, at(n * 60), &entropy);
    }
    assert!(watch.is_disabling());
    let news = watch.take();
    assert!(news.disable);
    assert_eq!(published(&news), [EventType::WebhookDisabled]);
    assert_eq!(news.health.unwrap().disabled_reason.as_deref(), Some("every attempt failed for 3600 s"));
}

#[test]
fn two_failures_far_apart_disable_nothing_and_neither_does_boundless_patience() {
    let (hook, event, entropy) = (webhook(), event(EventType::Created), SeededEntropy::new(1));
    let mut watch = Watch::new(WebhookHealth::default());
    watch.failed(&hook, &event, PATIENCE, at(0), &entropy);
    watch.failed(&hook, &event, PATIENCE, at(1_000_000), &entropy);
    for n in 0..100 {
        watch.failed(&hook, &event, None, at(2_000_000 + n), &entropy);
    }
    assert!(!watch.is_disabling());
}

#[test]
fn a_failure_to_tell_of_failures_is_not_told() {
    let (hook, entropy) = (webhook(), SeededEntropy::new(1));
    let event = event(EventType::WebhookExhausted);
    let mut watch = Watch::new(WebhookHealth::default());
    watch.failed(&hook, &event, PATIENCE, at(0), &entropy);
    watch.exhausted(&hook, &event, at(0), &entropy);
    watch.behind(&hook, &event, at(0), &entropy);
    assert_eq!(published(&watch.take()), []);
}

#[test]
fn news_that_could_not_be_stored_are_part_of_the_next() {
    let (hook, event, entropy) = (webhook(), event(EventType::Created), SeededEntropy::new(1));
    let mut watch = Watch::new(WebhookHealth::default());
    watch.exhausted(&hook, &event, at(0), &entropy);
    let first = watch.take();
    watch.disable("because".to_owned(), &hook, &event, at(1), &entropy);
    watch.take_back(first);
    let news = watch.take();
    assert_eq!(published(&news), [EventType::WebhookExhausted, EventType::WebhookDisabled]);
    assert!(news.disable && news.health.unwrap().disabled_reason.is_some());
}
