//! What clients get to see, word for word.

use std::time::Duration;

use http::StatusCode;

use super::door::{Door, KEY};

#[tokio::test]
async fn a_sandbox_s_whole_life() {
    let mut door = Door::open().await;
    let created = door
        .say(
            "POST",
            "/v2/sandboxes",
            r#"{"templateID":"base","metadata":{"user":"a b"},"envVars":{"X":"1"}}"#,
        )
        .await;
    let id = created.body["sandboxID"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("/sandboxes/{id}{rest}");
    door.say("GET", &at(""), "").await;
    door.say("GET", "/sandboxes?metadata=user%3Da%252520b", "").await;
    door.say("GET", "/v2/sandboxes?state=running%2Cpaused&limit=1", "").await;
    door.say("GET", &at("/metrics"), "").await;
    door.say("GET", &format!("/sandboxes/metrics?sandbox_ids={id}"), "").await;
    door.clock.advance(Duration::from_millis(1_500));
    door.say("POST", &at("/timeout"), r#"{"timeout":600}"#).await;
    door.say("POST", &at("/refreshes"), "").await;
    door.say("POST", &format!("/v2{}", at("/connect")), "{}").await;
    door.say("POST", &at("/connect"), r#"{"timeout":30}"#).await;
    door.say("POST", &at("/resume"), "").await;
    door.say("POST", &at("/snapshots"), r#"{"name":"kept:v1"}"#).await;
    door.say("GET", &format!("/snapshots?sandboxID={id}"), "").await;
    door.clock.advance(Duration::from_millis(500));
    door.say("POST", &at("/pause"), "").await;
    door.say("POST", &at("/pause"), "{}").await;
    door.say("GET", "/sandboxes", "").await;
    door.say("GET", "/v2/sandboxes?state=paused", "").await;
    door.say("POST", &at("/timeout"), r#"{"timeout":600}"#).await;
    door.clock.advance(Duration::from_secs(1));
    door.say("POST", &at("/connect"), r#"{"timeout":30}"#).await;
    door.clock.advance(Duration::from_secs(1));
    door.say("DELETE", &at(""), "").await;
    door.say("DELETE", &at(""), "").await;
    door.say("GET", &at(""), "").await;
    door.say("GET", &format!("/events/sandboxes/{id}?limit=100&orderAsc=true"), "").await;
    door.say("GET", "/events/sandboxes?limit=1&types=sandbox.lifecycle.paused", "").await;
    door.say("DELETE", "/templates/acme%2Fkept%3Av1", "").await;
    door.say("DELETE", "/templates/acme%2Fkept%3Av1", "").await;
    insta::assert_snapshot!(door.take_log());
}

#[tokio::test]
async fn templates_teams_and_keys() {
    let mut door = Door::open().await;
    door.say("GET", "/health", "").await;
    door.say("GET", "/teams", "").await;
    for path in ["/templates", "/v2/templates?limit=1", "/default-templates", "/templates/base"] {
        door.say("GET", path, "").await;
    }
    door.say("GET", "/templates/aliases/base", "").await;
    door.say("GET", "/templates/aliases/nothing", "").await;
    door.say("DELETE", "/templates/base", "").await;
    let made = door.say("POST", "/api-keys", r#"{"name":"second"}"#).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let key = made.body["key"].as_str().unwrap().to_owned();
    assert_eq!(door.ask(Some(&key), "GET", "/teams", "").await.body[0]["apiKey"], key.as_str());
    door.say("PATCH", &format!("/api-keys/{id}"), r#"{"name":"renamed"}"#).await;
    assert_eq!(door.ask(Some(KEY), "GET", "/api-keys", "").await.body[1]["name"], "renamed");
    door.say("DELETE", &format!("/api-keys/{id}"), "").await;
    door.say("DELETE", &format!("/api-keys/{id}"), "").await;
    assert_eq!(door.ask(Some(&key), "GET", "/teams", "").await.status, StatusCode::UNAUTHORIZED);
    insta::assert_snapshot!(door.take_log());
}

#[tokio::test]
async fn webhooks_and_their_deliveries() {
    let mut door = Door::open().await;
    let new = r#"{"unknown":1,"name":"mine","url":"https://example.com/hook","signatureSecret":"s3cret-s3cret-s3cret-s3cret-s3cr","events":["sandbox.lifecycle.killed","sandbox.lifecycle.created"]}"#;
    let made = door.say("POST", "/events/webhooks", new).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("/events/webhooks/{id}{rest}");
    door.say("GET", &at(""), "").await;
    door.say("PATCH", &at(""), r#"{"enabled":false,"name":null}"#).await;
    door.say("PATCH", &at(""), r#"{"events":[]}"#).await;
    door.say("PATCH", &at(""), r#"{"url":"http://127.0.0.1:9/x"}"#).await;
    door.say("GET", "/events/webhooks", "").await;
    door.say("GET", &at("/deliveries"), "").await;
    door.say("GET", &at("/stats"), "").await;
    door.say("POST", "/events/webhooks", r#"{"url":"ftp://x","events":[]}"#).await;
    door.webhook().await;
    door.say("POST", "/events/webhooks", new).await;
    door.say("DELETE", &at(""), "").await;
    door.say("GET", &at(""), "").await;
    let log = door.take_log();
    let mut answers = log.lines().filter(|line| !line.starts_with("POST "));
    assert!(answers.all(|line| !line.contains("s3cret")), "a secret came back");
    insta::assert_snapshot!(log);
}

#[tokio::test]
async fn pages_follow_each_other_in_both_directions() {
    let limits = sandscope_model::TeamLimits::default();
    let door = Door::with_limits(limits).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(door.sandbox(r#"{"templateID":"base"}"#).await);
        door.clock.advance(Duration::from_millis(1));
    }
    for order in ["asc", "desc"] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("/v2/sandboxes?limit=2&order={order}&nextToken={token}");
            let page = door.ask(Some(KEY), "GET", &path, "").await;
            assert_eq!(page.headers["x-total-running"], "5");
            let ids = page.body.as_array().unwrap().iter();
            seen.extend(ids.map(|sandbox| sandbox["sandboxID"].as_str().unwrap().to_owned()));
            match page.headers.get("x-next-token") {
                Some(next) => token = next.to_str().unwrap().to_owned(),
                None => break,
            }
        }
        if order == "desc" {
            seen.reverse();
        }
        assert_eq!(seen, made, "{order}");
    }
}

#[tokio::test]
async fn a_repeated_create_with_the_same_key_answers_the_same_sandbox() {
    let door = Door::open().await;
    let create = |body: &'static str| {
        let request = http::Request::post("/v2/sandboxes")
            .header("x-api-key", KEY)
            .header("idempotency-key", "abc-1")
            .body(axum::body::Body::from(body))
            .unwrap();
        door.send(request)
    };
    let first = create(r#"{"templateID":"base"}"#).await;
    let again = create(r#"{"templateID":"base"}"#).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.body, again.body);
    let other = create(r#"{"templateID":"base","timeout":9}"#).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.body["error_code"], "idempotency_request_mismatch");
}

#[tokio::test]
async fn the_team_s_limit_is_a_429_that_says_not_to_retry() {
    let door = Door::open().await;
    for _ in 0..2 {
        door.sandbox(r#"{"templateID":"base"}"#).await;
    }
    let refused = door.ask(Some(KEY), "POST", "/sandboxes", r#"{"templateID":"base"}"#).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["should-retry"], "false");
    assert!(!refused.headers.contains_key("retry-after"));
    insta::assert_json_snapshot!(refused.body);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads() {
    let door = Door::open().await;
    door.faults.fail_always(Some(sandscope_store::fault::Fault::Full));
    let refused = door.ask(Some(KEY), "POST", "/v2/sandboxes", r#"{"templateID":"base"}"#).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    insta::assert_json_snapshot!(refused.body);
    assert_eq!(door.ask(Some(KEY), "GET", "/v2/sandboxes", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_says_when_the_server_is_about_to_stop() {
    let door = Door::open().await;
    door.health.send(crate::Health::Draining).unwrap();
    assert_eq!(door.ask(None, "GET", "/health", "").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn health_says_when_a_part_of_the_server_has_failed() {
    let door = Door::open().await;
    assert_eq!(door.ask(None, "GET", "/health", "").await.status, StatusCode::OK);
    door.tasks.fatal("short", sandscope_tasks::Phase::Observe, async {});
    door.tasks.failed().await;
    let answer = door.ask(None, "GET", "/health", "").await;
    assert_eq!((answer.status, answer.body["code"].as_u64()), (StatusCode::SERVICE_UNAVAILABLE, Some(503)));
    assert!(answer.body["message"].as_str().unwrap().contains("a part of the server has failed"));
}

#[tokio::test]
async fn tokens_are_given_as_asked() {
    let door = Door::open().await;
    let v1 = door.ask(Some(KEY), "POST", "/sandboxes", r#"{"templateID":"base"}"#).await;
    assert!(v1.body["envdAccessToken"].is_string(), "who says nothing is protected");
    let kill = format!("/sandboxes/{}", v1.body["sandboxID"].as_str().unwrap());
    assert_eq!(door.ask(Some(KEY), "DELETE", &kill, "").await.status, StatusCode::NO_CONTENT);
    let open = door.ask(Some(KEY), "POST", "/sandboxes", r#"{"templateID":"base","secure":false}"#).await;
    assert_eq!(open.body.get("envdAccessToken"), None);
    assert_eq!(open.body["trafficAccessToken"], serde_json::Value::Null);
    let closed = r#"{"templateID":"base","secure":true,"network":{"allowPublicTraffic":false}}"#;
    let closed = door.ask(Some(KEY), "POST", "/sandboxes", closed).await;
    assert!(closed.body["envdAccessToken"].is_string());
    assert!(closed.body["trafficAccessToken"].is_string());
    let id = closed.body["sandboxID"].as_str().unwrap();
    let detail = door.ask(Some(KEY), "GET", &format!("/sandboxes/{id}"), "").await;
    assert_eq!(detail.body["network"]["allowPublicTraffic"], false);
}

#[tokio::test]
async fn a_draining_server_refuses_new_sandboxes() {
    let door = Door::open().await;
    door.lifecycle.drain().await;
    let refused = door.ask(Some(KEY), "POST", "/v2/sandboxes", r#"{"templateID":"base"}"#).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(door.ask(Some(KEY), "GET", "/v2/sandboxes", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_failing_runtime_is_a_500_that_names_no_host_details() {
    use sandscope_testbed::{Fault, Op, Trigger};
    let door = Door::open().await;
    door.runtime.inject(Trigger::Next(Op::Create), Fault::Fail);
    let failed = door.ask(Some(KEY), "POST", "/v2/sandboxes", r#"{"templateID":"base"}"#).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    insta::assert_json_snapshot!(failed.body);
    assert_eq!(door.ask(Some(KEY), "GET", "/events/sandboxes", "").await.body, serde_json::json!([]));
}

/// Faults the next create, snapshot and pause; their answers are in the log. Nothing may have changed.
async fn fault_each(fault: sandscope_testbed::Fault, should_retry: Option<&str>) -> String {
    use sandscope_testbed::{Op, Trigger};
    let mut door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let operations = [
        (Op::Create, "/v2/sandboxes".to_owned(), r#"{"templateID":"base"}"#),
        (Op::Checkpoint, format!("/sandboxes/{id}/snapshots"), "{}"),
        (Op::Pause, format!("/sandboxes/{id}/pause"), ""),
    ];
    for (op, path, body) in operations {
        door.runtime.inject(Trigger::Next(op), fault);
        let refused = door.say("POST", &path, body).await;
        let retry = refused.headers.get("should-retry").map(|value| value.to_str().unwrap());
        assert_eq!(retry, should_retry);
    }
    let log = door.take_log();
    let sandbox = door.ask(Some(KEY), "GET", &format!("/sandboxes/{id}"), "").await;
    assert_eq!(sandbox.body["state"], "running");
    assert_eq!(door.ask(Some(KEY), "GET", "/events/sandboxes", "").await.body.as_array().unwrap().len(), 1);
    log
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_a_501_that_names_it_and_changes_nothing() {
    insta::assert_snapshot!(fault_each(sandscope_testbed::Fault::Unsupported, Some("false")).await);
}

#[tokio::test]
async fn what_a_host_has_no_room_for_is_a_503_that_changes_nothing() {
    insta::assert_snapshot!(fault_each(sandscope_testbed::Fault::Full, None).await);
}
