//! Rules of alerts: made, read, changed, deleted, and what is wrong with them.

use http::StatusCode;
use sandscope_model::{
    AlertChange, AlertNotice, EventDraft, EventId, Fact, Subject, SubjectKey, TeamAlertRule,
};
use sandscope_store::{AlertDecision, AlertKey, AlertStep, FiringAlert};
use sandscope_testbed::SeededEntropy;

use super::door::{Door, KEY, OTHER_KEY};

const BUSY: &str = r#"{"name":"busy","metric":"cpuPct","above":80,"clear":60,"forSeconds":300}"#;

/// Lets a rule of the first team fire for a sandbox, as the one who watches would.
async fn fire(door: &Door, rule: &TeamAlertRule, sandbox: &str) {
    let id = sandbox.parse().unwrap();
    let found = door.store.facts.sandbox(&id).await.unwrap().unwrap();
    let subject = SubjectKey::Sandbox(id.clone());
    let since = sandscope_model::Clock::now(&door.clock);
    let notice = AlertNotice::new(&rule.rule, Some(rule.id), 93.5);
    let told = EventDraft {
        id: EventId::generate(&SeededEntropy::new(77)),
        team_id: door.team,
        timestamp: since,
        subject: Subject::of(&found),
        origin: None,
        fact: Fact::Alert { change: AlertChange::Firing, notice: Box::new(notice) },
    };
    let key = AlertKey { rule_id: Some(rule.id), rule: rule.rule.name.clone(), subject };
    let alert = Box::new(FiringAlert { key, rule: Some(rule.rule.clone()), since, published: told });
    let decisions = vec![AlertDecision::Fire { alert, revision: rule.revision }];
    let step = AlertStep { team_id: door.team, decisions, cursor: None };
    assert_eq!(door.store.alerts.publish_alerts(step.clone()).await.unwrap(), 1);
    assert_eq!(door.store.alerts.publish_alerts(step).await.unwrap(), 0, "told once");
}

#[tokio::test]
async fn a_rule_s_whole_life() {
    let mut door = Door::open().await;
    let sandbox = door.sandbox(r#"{"templateID":"base"}"#).await;
    let made = door.say("POST", "/alerts/rules", BUSY).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let path = format!("/alerts/rules/{id}");
    door.say("GET", &path, "").await;
    door.say("GET", "/alerts/rules/idle", "").await;
    let rule = door.store.alerts.alert_rule(door.team, id.parse().unwrap()).await.unwrap().unwrap();
    fire(&door, &rule, &sandbox).await;
    let firing = door.ask(Some(KEY), "GET", "/alerts", "").await.body["firing"].clone();
    assert_eq!(firing[0]["ruleID"], id.as_str(), "{firing}");
    assert_eq!((firing[0]["sandboxID"].as_str(), firing[0]["value"].as_f64()), (Some(&*sandbox), Some(93.5)));
    door.say("PATCH", &path, "{}").await;
    let still = door.ask(Some(KEY), "GET", "/alerts", "").await.body["firing"].clone();
    assert_eq!(still, firing, "nothing was changed");
    door.say("PATCH", &path, r#"{"below":5}"#).await;
    door.say("PATCH", &path, r#"{"metric":"crashes","above":3,"withinSeconds":120}"#).await;
    assert_eq!(door.ask(Some(KEY), "GET", "/alerts", "").await.body["firing"], serde_json::json!([]));
    let told = "/events/sandboxes?types=sandbox.alert.firing&types=sandbox.alert.resolved&orderAsc=true";
    let events = door.ask(Some(KEY), "GET", told, "").await.body;
    let types: Vec<_> =
        events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["sandbox.alert.firing", "sandbox.alert.resolved"], "{events}");
    assert_eq!(events[1]["eventData"]["alert"]["reason"], "the rule was changed");
    assert_eq!(events[1]["eventData"]["alert"]["subject"], format!("sandbox:{sandbox}"));
    door.say("DELETE", &path, "").await;
    door.say("DELETE", &path, "").await;
    insta::assert_snapshot!(door.take_log().replace(&id, "{id}"));
}

#[tokio::test]
async fn the_operator_s_rules_are_read_only_and_keep_their_names() {
    let door = Door::open().await;
    for method in ["PATCH", "DELETE"] {
        let answer = door.ask(Some(KEY), method, "/alerts/rules/idle", "{}").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
    }
    let taken = BUSY.replace("busy", "idle");
    assert_eq!(door.ask(Some(KEY), "POST", "/alerts/rules", &taken).await.status, StatusCode::CONFLICT);
    assert_eq!(door.ask(Some(KEY), "POST", "/alerts/rules", BUSY).await.status, StatusCode::CREATED);
    assert_eq!(door.ask(Some(KEY), "POST", "/alerts/rules", BUSY).await.status, StatusCode::CONFLICT);
    assert_eq!(door.ask(Some(OTHER_KEY), "POST", "/alerts/rules", BUSY).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_wrong_with_a_rule_is_told_in_the_api_s_words() {
    let door = Door::open().await;
    for (body, wanted) in [
        (r#"{"name":"a","metric":"cpuPct","above":1,"for":3}"#, "unknown field `for`"),
        (r#"{"name":"","metric":"luck"}"#, "name must be 1 to 64 bytes long"),
        (r#"{"name":"a","metric":"crashes","above":3,"forSeconds":9}"#, "forSeconds must be left out"),
        (
            r#"{"name":"a","metric":"crashes","above":3,"withinSeconds":9999999}"#,
            "withinSeconds must be from",
        ),
        ("[]", "expected a JSON object"),
    ] {
        let answer = door.ask(Some(KEY), "POST", "/alerts/rules", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.body["message"].as_str().unwrap().contains(wanted), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_team_has_so_many_rules() {
    let door = Door::open().await;
    for n in 0..100 {
        let body = BUSY.replace("busy", &format!("busy {n}"));
        assert_eq!(door.ask(Some(KEY), "POST", "/alerts/rules", &body).await.status, StatusCode::CREATED);
    }
    let refused = door.ask(Some(KEY), "POST", "/alerts/rules", BUSY).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
}
