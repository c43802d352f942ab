use std::collections::BTreeMap;

use sandscope_model::{
    AlertChange, AlertMetric, Cause, Component, EventDraft, KillReason, OomKills, SandboxRef, Subject,
    Timestamp, WebhookChange,
};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn sandbox() -> SandboxRef {
    SandboxRef {
        id: "i0123456789abcdefghij".parse().unwrap(),
        execution_id: uuid::Uuid::from_u128(2).into(),
        template_id: "rki5dems9wqfm4r03t7g".parse().unwrap(),
        build_id: uuid::Uuid::from_u128(3).into(),
        metadata: [].into(),
    }
}

fn event(fact: Fact) -> Event {
    about(Subject::Sandbox(sandbox()), fact)
}

fn about(subject: Subject, fact: Fact) -> Event {
    let uuid = uuid::Uuid::from_u128;
    Event {
        sequence: 7,
        draft: EventDraft {
            id: uuid(1).into(),
            team_id: uuid(4).into(),
            timestamp: at("2025-08-06T20:59:24.25Z"),
            subject,
            origin: None,
            fact,
        },
    }
}

fn killed() -> Event {
    let death = Death {
        execution: Some(ExecutionSummary {
            started_at: at("2025-08-06T20:58:24.999Z"),
            vcpu_count: 2,
            memory_mb: 512,
            execution_time_ms: 1000,
        }),
        reason: KillReason::Oom,
        exit: Some(Exit {
            status: Some(ExitStatus::Signal(9)),
            cause: Some(Cause::OutOfMemory),
            n_oom_kills: Some(3),
            peak_memory_bytes: Some(536_870_912),
            cpu_time_usec: Some(1_234_567),
        }),
        last_samples: Some(SampleSummary {
            n_samples: 2,
            first_at: at("2025-08-06T20:59:15.1Z"),
            last_at: at("2025-08-06T20:59:20Z"),
            cpu_used_centi_pct: LastAndMax { last: 150, max: 9_999 },
            mem_used_bytes: LastAndMax { last: 500_000_000, max: 530_000_000 },
            disk_used_bytes: LastAndMax { last: 7, max: 8 },
        }),
    };
    let metadata = BTreeMap::from([("user".to_owned(), "u1".to_owned())]);
    about(Subject::Sandbox(SandboxRef { metadata, ..sandbox() }), Fact::Killed(death))
}

#[test]
fn an_event_with_nothing_to_say_has_null_data() {
    insta::assert_json_snapshot!(render(&event(Fact::Created)));
}

#[test]
fn an_event_with_everything_to_say() {
    insta::assert_json_snapshot!(render(&killed()));
}

#[test]
fn the_new_end_time_has_no_fraction() {
    let end_at = at("2025-08-06T20:59:59.5Z");
    assert_eq!(
        render(&event(Fact::Updated(Update::TimeoutMoved { end_at })))["eventData"],
        json!({"set_timeout": "2025-08-06T20:59:59Z"})
    );
}

#[test]
fn an_event_says_who_caused_it() {
    let of = |origin| {
        let mut event = event(Fact::Resumed);
        event.draft.origin = Some(origin);
        render(&event)["eventData"].clone()
    };
    let id = uuid::Uuid::from_u128(9);
    let asked = Origin {
        actor: Actor::ApiKey { id: id.into(), name: Some("ci".into()) },
        request_id: Some("r-1".into()),
        remote_address: Some([192, 0, 2, 1].into()),
    };
    assert_eq!(
        of(asked),
        json!({"actor": {"type": "api_key", "id": id, "name": "ci"}, "request_id": "r-1", "remote_address": "192.0.2.1"})
    );
    assert_eq!(
        of(Origin::system(Component::Traffic)),
        json!({"actor": {"type": "system", "component": "traffic"}})
    );
}

#[test]
fn a_webhook_body_says_everything_in_both_spellings() {
    let body: Value = serde_json::from_slice(&webhook_body(&killed(), PayloadStyle::Both)).unwrap();
    insta::assert_json_snapshot!(body);
    let body =
        |fact| -> Value { serde_json::from_slice(&webhook_body(&event(fact), PayloadStyle::Both)).unwrap() };
    let bare = body(Fact::Resumed);
    assert_eq!(bare["eventData"], Value::Null);
    assert_eq!(bare.get("event_data"), None);
    let checkpointed = body(Fact::Checkpointed { snapshot: sandbox().template_id });
    assert_eq!(checkpointed.get("event_label"), None);
}

#[test]
fn an_operational_event_names_its_webhook_and_is_of_another_category() {
    let id = uuid::Uuid::from_u128(5).into();
    let notice = Box::new(WebhookNotice {
        id,
        name: "hook".to_owned(),
        reason: "because".to_owned(),
        failing_since: Some(at("2025-08-06T20:58:24.999Z")),
        n_failed: 7,
        event_id: uuid::Uuid::from_u128(6).into(),
        sandbox: Some(sandbox()),
    });
    let event = about(Subject::Webhook(id), Fact::Webhook { change: WebhookChange::Disabled, notice });
    let body: Value = serde_json::from_slice(&webhook_body(&event, PayloadStyle::Both)).unwrap();
    assert_eq!(body["sandboxId"], "i0123456789abcdefghij", "that of the event whose delivery made it so");
    assert_eq!(body["sandboxTemplateId"], "rki5dems9wqfm4r03t7g");
    assert_eq!((&body["type"], &body["event_category"]), (&json!("webhook.disabled"), &json!("webhook")));
    assert_eq!(body["eventData"]["webhook"]["failing_since"], "2025-08-06T20:58:24Z");
    assert_eq!(body["event_data"]["webhook"]["failed_attempts"], 7);
}

#[test]
fn each_style_has_its_keys_and_no_others() {
    let body = |style| -> Value { serde_json::from_slice(&webhook_body(&killed(), style)).unwrap() };
    let camel = body(PayloadStyle::Camel);
    assert_eq!(camel, render(&killed()));
    let snake = body(PayloadStyle::Snake);
    assert!(snake.as_object().unwrap().keys().all(|key| !key.contains(char::is_uppercase)), "{snake}");
    assert_eq!(snake["event_data"]["kill_reason"], "oom");
    assert_eq!(snake["sandbox_id"], "i0123456789abcdefghij");
    assert_eq!(snake["sequence"], camel["sequence"]);
    assert!(camel["sequence"].is_u64());
    let cloud = body(PayloadStyle::Cloudevents);
    assert_eq!((&cloud["specversion"], &cloud["type"]), (&json!("1.0"), &json!("sandbox.lifecycle.killed")));
    assert_eq!(cloud["data"], camel);
    assert_eq!(content_type(PayloadStyle::Cloudevents), "application/cloudevents+json");
    assert_eq!(camel.get("test"), None);
    let test = Event { sequence: 0, ..killed() };
    let body: Value = serde_json::from_slice(&webhook_body(&test, PayloadStyle::Snake)).unwrap();
    assert_eq!(body["test"], true);
}

#[test]
fn what_is_not_known_about_an_end_has_no_key_and_a_known_zero_has() {
    let rendered = |exit| {
        let death = Death { exit: Some(exit), ..Death::of(KillReason::Crashed) };
        render(&event(Fact::Killed(death)))["eventData"].clone()
    };
    assert_eq!(rendered(Exit::default()), json!({"kill_reason": "crashed"}));
    let nothing_used =
        Exit { n_oom_kills: Some(0), cpu_time_usec: Some(999), ..Exit::of_cause(Cause::SupervisorKilled) };
    assert_eq!(
        rendered(nothing_used),
        json!({"kill_reason": "crashed", "kill_detail": "supervisor_killed", "oom_kills": 0, "cpu_time_ms": 0})
    );
}

#[test]
fn a_process_killed_for_lack_of_memory_is_no_change_of_the_lifecycle() {
    let event = event(Fact::OutOfMemory(OomKills { n_new: 2, n_total: 5 }));
    let body: Value = serde_json::from_slice(&webhook_body(&event, PayloadStyle::Both)).unwrap();
    assert_eq!(body["type"], "sandbox.oom");
    assert_eq!(body["eventData"], json!({"oom_kills": 5, "new_oom_kills": 2}));
    assert_eq!((body["event_category"].as_str(), body.get("event_label")), (Some("resource"), None));
}

#[test]
fn the_body_of_what_was_rendered_is_the_body() {
    let example = |kind| {
        let ids = (uuid::Uuid::from_u128(1).into(), uuid::Uuid::from_u128(4).into());
        let draft = EventDraft::example(kind, ids, sandbox(), at("2025-08-06T20:59:24.25Z"));
        Event { sequence: 7, draft }
    };
    for event in EventType::ALL.map(example).into_iter().chain([killed()]) {
        let Value::Object(rendered) = render(&event) else { panic!("an object") };
        assert_eq!(rendered["type"], event.event_type().as_str());
        let again: Value = serde_json::from_slice(&body_of_rendered(&rendered).unwrap()).unwrap();
        let direct: Value = serde_json::from_slice(&webhook_body(&event, PayloadStyle::Both)).unwrap();
        assert_eq!(again, direct);
    }
}

#[test]
fn what_is_about_no_sandbox_says_so_by_null() {
    let notice = Box::new(AlertNotice {
        rule: "budget".to_owned(),
        rule_id: None,
        metric: AlertMetric::Cost,
        threshold_milli: 100_000,
        within_s: Some(86_400),
        value_milli: Some(100_500),
        reason: None,
        sandbox: None,
    });
    let event = about(Subject::Team, Fact::Alert { change: AlertChange::Firing, notice });
    let rendered = render(&event);
    for key in ["sandboxId", "sandboxExecutionId", "sandboxBuildId", "sandboxTemplateId"] {
        assert_eq!(rendered.get(key), Some(&Value::Null), "{key}");
    }
    assert_eq!(rendered["eventData"]["alert"]["subject"], "team");
    let body = |style| -> Value { serde_json::from_slice(&webhook_body(&event, style)).unwrap() };
    assert_eq!(body(PayloadStyle::Snake).get("sandbox_id"), Some(&Value::Null));
    assert_eq!(body(PayloadStyle::Cloudevents)["subject"], "team");
}
