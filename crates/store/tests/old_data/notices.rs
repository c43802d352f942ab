//! What a release writes of webhooks and alerts.

use std::collections::{BTreeMap, BTreeSet};

use sandscope_model::{
    AlertBy, AlertChange, AlertNotice, AlertRule, Attempt, AttemptOutcome, ErrorClass, EventDraft, EventType,
    EventTypes, Exception, Fact, Ordering, PayloadStyle, Replay, ReplayState, RetiredSecret, Retry, Sandbox,
    SandboxId, SandboxRef, Secret, Selection, Subject, TeamAlertRule, Webhook, WebhookChange, WebhookFilter,
    WebhookHealth, WebhookId, WebhookNotice, WebhookOptions,
};
use sandscope_store::{AlertDecision, AlertKey, AlertStep, DeliveryProgress, FiringAlert, ReplayStep};

use crate::contents::Writer;
use crate::nouns::{Counting, at, sandbox_id, template_id, uuid};

const RICH: u64 = 1;
const DISABLED: u64 = 2;
const ENABLED_AGAIN: u64 = 3;
const OF_SANDBOX: u64 = 4;

pub(crate) async fn write(writer: &mut Writer) {
    webhooks(writer).await;
    progress(writer).await;
    attempts(writer).await;
    alerts(writer).await;
}

fn hook_id(n: u64) -> WebhookId {
    uuid(6, n)
}

fn webhook(writer: &Writer, n: u64, options: WebhookOptions) -> Webhook {
    Webhook {
        id: hook_id(n),
        team_id: writer.team.id,
        name: format!("hook {n}"),
        url: format!("https://example.com/hooks/{n}?a=b"),
        events: EventTypes::from([EventType::Created, EventType::Killed]),
        enabled: true,
        signature_secret: Secret::new(format!("secret-{n}-{}", "s".repeat(24))),
        previous_secret: None,
        headers: BTreeMap::new(),
        options,
        created_at: at(i64::try_from(n).unwrap()),
    }
}

fn rich(writer: &Writer) -> Webhook {
    let options = WebhookOptions {
        ordering: Ordering::Strict,
        retry: Retry::Custom(vec![1, 5, 60]),
        timeout_s: Some(7),
        max_in_flight: Some(3),
        rate_per_second: Some(11),
        disable_after_s: Some(3_600),
        payload: PayloadStyle::Cloudevents,
        filter: WebhookFilter {
            metadata: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
            templates: BTreeSet::from([template_id(1)]),
            reasons: BTreeSet::from(["oom".to_owned()]),
        },
        sandbox_id: None,
    };
    Webhook {
        events: EventType::ALL.into_iter().collect(),
        previous_secret: Some(RetiredSecret { secret: Secret::new("p".repeat(32)), until: at(90_000) }),
        headers: BTreeMap::from([("x-token".to_owned(), Secret::new("h".to_owned()))]),
        ..webhook(writer, RICH, options)
    }
}

async fn webhooks(writer: &Writer) {
    let store = &writer.store;
    assert!(store.deliveries.insert_webhook(rich(writer), 10).await.unwrap());
    let plain = WebhookOptions { retry: Retry::E2b, ..WebhookOptions::default() };
    assert!(store.deliveries.insert_webhook(webhook(writer, DISABLED, plain), 10).await.unwrap());
    let mut again = webhook(writer, ENABLED_AGAIN, WebhookOptions::default());
    assert!(store.deliveries.insert_webhook(again.clone(), 10).await.unwrap());
    again.enabled = false;
    assert!(store.deliveries.update_webhook(again.clone()).await.unwrap());
    let of_sandbox = WebhookOptions { sandbox_id: Some(sandbox_id(3)), ..WebhookOptions::default() };
    let own = webhook(writer, OF_SANDBOX, of_sandbox);
    store.deliveries.insert_sandbox_webhooks(sandbox_id(3), vec![own]).await.unwrap();
}

/// The sandbox of the events that notices come from.
async fn source(writer: &Writer) -> Sandbox {
    writer.store.facts.sandbox(&sandbox_id(3)).await.unwrap().unwrap()
}

async fn notice(writer: &mut Writer, change: WebhookChange, n: u64, seconds: i64) -> EventDraft {
    let source = source(writer).await;
    let notice = WebhookNotice {
        id: hook_id(n),
        name: format!("hook {n}"),
        reason: format!("{} for a reason", change.event_type()),
        failing_since: (change != WebhookChange::Recovered).then(|| at(seconds - 30)),
        n_failed: 4,
        event_id: uuid(5, 3),
        sandbox: Some(SandboxRef::of(&source)),
    };
    let fact = Fact::Webhook { change, notice: Box::new(notice) };
    EventDraft { subject: Subject::Webhook(hook_id(n)), ..writer.draft(&source, seconds, None, fact) }
}

async fn progress(writer: &mut Writer) {
    let store = writer.store.clone();
    let exception = |sequence, due: Option<i64>, n_attempts| Exception {
        webhook_id: hook_id(RICH),
        sequence,
        n_attempts,
        next_due_at: due.map(at),
        replay_no: None,
        was_exhausted: false,
    };
    let last = store.events.last_sequence(writer.team.id).await.unwrap();
    let health = WebhookHealth {
        failing_since: Some(at(1_000)),
        n_failed: 4,
        reported: BTreeSet::from([WebhookChange::Lagging]),
        disabled_reason: None,
    };
    let notices = vec![
        notice(writer, WebhookChange::Lagging, RICH, 1_000).await,
        notice(writer, WebhookChange::Exhausted, RICH, 1_010).await,
    ];
    let progress = DeliveryProgress {
        cursor: Some(last - 3),
        set: vec![exception(5, Some(5_000), 2), exception(6, None, 4), exception(8, Some(5_100), 1)],
        health: Some(health),
        notices,
        ..DeliveryProgress::of(hook_id(RICH))
    };
    store.deliveries.record_deliveries(progress).await.unwrap();
    let progress = DeliveryProgress {
        set: vec![exception(last + 1, Some(5_200), 1)],
        ..DeliveryProgress::of(hook_id(RICH))
    };
    store.deliveries.record_deliveries(progress).await.unwrap();

    let health = WebhookHealth {
        failing_since: Some(at(1_000)),
        n_failed: 99,
        reported: BTreeSet::from([WebhookChange::Disabled]),
        disabled_reason: Some("failed for an hour".to_owned()),
    };
    let notices = vec![notice(writer, WebhookChange::Disabled, DISABLED, 1_100).await];
    let progress = DeliveryProgress {
        health: Some(health),
        notices,
        disable: true,
        ..DeliveryProgress::of(hook_id(DISABLED))
    };
    store.deliveries.record_deliveries(progress).await.unwrap();
    let notices = vec![notice(writer, WebhookChange::Recovered, ENABLED_AGAIN, 1_200).await];
    let progress = DeliveryProgress { notices, ..DeliveryProgress::of(hook_id(ENABLED_AGAIN)) };
    store.deliveries.record_deliveries(progress).await.unwrap();
    let again = webhook(writer, ENABLED_AGAIN, WebhookOptions::default());
    assert!(store.deliveries.update_webhook(again).await.unwrap());
    replays(writer).await;
}

async fn replays(writer: &Writer) {
    let replay = |n: u64, webhook: u64, selection| Replay {
        id: uuid(7, n),
        webhook_id: hook_id(webhook),
        selection,
        first: 3,
        last: 20,
        next: 3,
        rate_per_second: Some(2),
        state: ReplayState::Running,
        n_selected: 0,
        n_delivered: 0,
        n_failed: 0,
        n_dropped: 0,
        created_at: at(1_300),
        finished_at: None,
    };
    let store = &writer.store;
    assert!(store.deliveries.insert_replay(replay(1, RICH, Selection::All), 5).await.unwrap());
    assert!(store.deliveries.insert_replay(replay(2, RICH, Selection::Failed), 5).await.unwrap());
    assert!(store.deliveries.cancel_replay(hook_id(RICH), uuid(7, 2), at(1_310)).await.unwrap());
    assert!(store.deliveries.insert_replay(replay(3, ENABLED_AGAIN, Selection::Failed), 5).await.unwrap());
    let (no, _) = store.deliveries.running_replays(hook_id(RICH)).await.unwrap().remove(0);
    let step = ReplayStep {
        no,
        at: at(1_320),
        next: Some(9),
        n_selected: 5,
        n_delivered: 3,
        n_failed: 1,
        n_dropped: 0,
    };
    let of_replay = Exception {
        webhook_id: hook_id(RICH),
        sequence: 7,
        n_attempts: 1,
        next_due_at: Some(at(5_300)),
        replay_no: Some(no),
        was_exhausted: true,
    };
    let progress =
        DeliveryProgress { set: vec![of_replay], replays: vec![step], ..DeliveryProgress::of(hook_id(RICH)) };
    store.deliveries.record_deliveries(progress).await.unwrap();
}

async fn attempts(writer: &Writer) {
    let attempt = |n: u64, outcome: AttemptOutcome, response_status| Attempt {
        id: uuid(8, n),
        team_id: writer.team.id,
        webhook_id: hook_id(RICH),
        event_id: uuid(5, n + 2),
        sequence: n + 2,
        sandbox_id: Some(sandbox_id(1)),
        event_type: EventType::ALL[usize::try_from(n).unwrap()],
        started_at: at(900 + i64::try_from(n).unwrap() * 20),
        duration_ms: u32::try_from(n * 37).unwrap(),
        outcome,
        request_url: "https://example.com/hooks/1?a=b".to_owned(),
        request_headers: "{\"content-type\":\"application/json\"}".to_owned(),
        request_body: format!("{{\"sequence\":{}}}", n + 2),
        response_status,
        response_headers: response_status.map(|_| "{\"server\":\"x\"}".to_owned()),
        response_body: response_status.map(|status| format!("answer {status}")),
    };
    let failed = |class, message: &str| AttemptOutcome::Failed { class, message: message.to_owned() };
    let attempts = vec![
        attempt(1, AttemptOutcome::Success, Some(200)),
        attempt(2, AttemptOutcome::Cut, Some(200)),
        attempt(3, failed(ErrorClass::HttpError, "answered 500"), Some(500)),
        attempt(4, failed(ErrorClass::Timeout, "no answer within 7 s"), None),
        attempt(5, failed(ErrorClass::DnsError, "no such host"), None),
    ];
    writer.store.attempts.insert_attempts(attempts).await.unwrap();
}

async fn alerts(writer: &mut Writer) {
    let store = writer.store.clone();
    let team_id = writer.team.id;
    let defaults = AlertRule::defaults();
    let named = |name: &str| defaults.iter().find(|rule| rule.name == name).unwrap().clone();
    let own = |n: u64, rule| TeamAlertRule { id: uuid(9, n), team_id, revision: 1, created_at: at(40), rule };
    let memory = AlertRule { name: "own memory".to_owned(), ..named("memory-nearly-full") };
    let by_label = AlertRule {
        name: "crashes by env".to_owned(),
        by: AlertBy::Label("env".to_owned()),
        ..named("crash-loop")
    };
    store.alerts.insert_alert_rule(own(1, memory.clone()), 10).await.unwrap();
    store.alerts.insert_alert_rule(own(2, by_label.clone()), 10).await.unwrap();
    let renamed = AlertRule { threshold: 4.0, clear: 4.0, ..by_label.clone() };
    let entropy = std::sync::Arc::new(Counting::default());
    store.alerts.update_alert_rule(team_id, uuid(9, 2), renamed.clone(), at(41), entropy).await.unwrap();
    let revision = store.alerts.alert_rule(team_id, uuid(9, 1)).await.unwrap().unwrap().revision;

    let running: SandboxId = sandbox_id(3);
    let source = source(writer).await;
    assert_eq!(source.id, running);
    let own_memory = (Some(uuid(9, 1)), memory, Subject::of(&source));
    let label = Subject::Label("env".to_owned(), "prod".to_owned());
    let operators = (None, AlertRule { by: AlertBy::Label("env".to_owned()), ..named("crash-loop") }, label);
    let failing = (None, named("webhook-failing"), Subject::Webhook(hook_id(RICH)));
    let mut decisions = Vec::new();
    for (seconds, (rule_id, rule, about)) in
        [(2_000, own_memory), (2_010, operators), (2_020, failing.clone())]
    {
        let mut notice = AlertNotice::new(&rule, rule_id, 97.25);
        notice.sandbox = about.sandbox().is_none().then(|| SandboxRef::of(&source));
        let fact = Fact::Alert { change: AlertChange::Firing, notice: Box::new(notice) };
        let subject = about.key();
        let told = EventDraft { subject: about, ..writer.draft(&source, seconds, None, fact) };
        let key = AlertKey { rule_id, rule: rule.name.clone(), subject };
        let alert = Box::new(FiringAlert { key, rule: Some(rule), since: told.timestamp, published: told });
        decisions.push(AlertDecision::Fire { alert, revision });
    }
    decisions.push(AlertDecision::Resolve {
        key: AlertKey { rule_id: None, rule: failing.1.name, subject: failing.2.key() },
        event_id: uuid(5, 999),
        at: at(2_100),
        value: Some(1.5),
        reason: None,
    });
    let step = AlertStep { team_id, decisions, cursor: Some(12) };
    assert_eq!(store.alerts.publish_alerts(step).await.unwrap(), 4);
}
