//! Input nobody should send: the right status, always as JSON, never a 5xx.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use sandscope_model::Entropy;
use sandscope_testbed::SeededEntropy;
use tower::ServiceExt as _;

use super::door::{Answer, Door, KEY};
use crate::{MAX_BODY_BYTES, layers};

fn assert_is_error(answer: &Answer) {
    assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.body);
    assert_eq!(answer.body["code"], answer.status.as_u16());
    assert!(answer.body["message"].is_string());
}

#[tokio::test]
async fn no_answer_is_for_a_cache_to_keep() {
    let door = Door::open().await;
    let made = r#"{"name":"another"}"#;
    for (key, method, path, body) in [
        (Some(KEY), "POST", "/v2/sandboxes", r#"{"templateID":"base"}"#),
        (Some(KEY), "POST", "/api-keys", made),
        (Some(KEY), "GET", "/teams", ""),
        (Some(KEY), "GET", "/nowhere", ""),
        (None, "GET", "/sandboxes", ""),
        (None, "GET", "/health", ""),
    ] {
        let answer = door.ask(key, method, path, body).await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{method} {path}: {}", answer.status);
    }
}

#[tokio::test]
async fn nonsense_gets_the_right_status_and_a_sentence() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let at = |rest: &str| format!("/sandboxes/{id}{rest}");
    let hook = door.webhook().await;
    let deliveries = |query: &str| format!("/events/webhooks/{hook}/deliveries?{query}");
    let cases: Vec<(&str, String, &str)> = vec![
        ("GET", "/nowhere".into(), ""),
        ("PUT", "/sandboxes".into(), ""),
        ("POST", "/v2/sandboxes".into(), ""),
        ("POST", "/v2/sandboxes".into(), "{"),
        ("POST", "/v2/sandboxes".into(), "[]"),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":7}"#),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":"nothing"}"#),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":"base","timeout":"5"}"#),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":"base","timeout":0}"#),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":"base","timeout":9223372036854775807}"#),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":"base","timeout":1e400}"#),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":"base","metadata":{"a":1}}"#),
        ("POST", "/v2/sandboxes".into(), r#"{"templateID":"base","mcp":["x"]}"#),
        ("GET", "/sandboxes/undefined".into(), ""),
        ("GET", "/sandboxes/a-b-c".into(), ""),
        ("GET", "/sandboxes/UPPER".into(), ""),
        ("GET", "/sandboxes/-a".into(), ""),
        ("POST", at("/snapshots"), r#"{"name":"base"}"#),
        ("POST", at("/snapshots"), r#"{"name":"acme/Base:v2"}"#),
        ("GET", "/sandboxes/%ff".into(), ""),
        ("POST", at("/connect"), ""),
        ("POST", at("/connect"), r#"{"timeout":-1}"#),
        ("POST", format!("/v2{}", at("/connect")), r#"{"timeout":0}"#),
        ("POST", at("/timeout"), r#"{"timeout":99999999}"#),
        ("POST", at("/timeout"), r#"{}"#),
        ("POST", at("/refreshes"), r#"{"duration":3601}"#),
        ("POST", at("/snapshots"), r#"{"name":"Not A Name"}"#),
        ("POST", at("/snapshots"), r#"{"name":"rival/x"}"#),
        ("GET", at("/metrics?start=9&end=5"), ""),
        ("GET", at("/metrics?start=-1"), ""),
        ("GET", at("/metrics?start=x"), ""),
        ("GET", at("/metrics?end=99999999999"), ""),
        ("GET", at("/logs?start=-1"), ""),
        ("GET", at("/logs?start=now"), ""),
        ("GET", at("/logs?limit=-1"), ""),
        ("GET", at("/logs?limit=2147483648"), ""),
        ("GET", format!("/v2{}", at("/logs?cursor=-1")), ""),
        ("GET", format!("/v2{}", at("/logs?limit=1001")), ""),
        ("GET", format!("/v2{}", at("/logs?direction=sideways")), ""),
        ("GET", format!("/v2{}", at("/logs?level=INFO")), ""),
        ("GET", format!("/v2{}", at(&format!("/logs?search={}", "x".repeat(257)))), ""),
        ("GET", "/sandboxes/undefined/logs".into(), ""),
        ("GET", "/v2/sandboxes/i00000000000000000000/logs".into(), ""),
        ("GET", at("/processes?limit=101"), ""),
        ("GET", "/sandboxes/i00000000000000000000/metrics/extended".into(), ""),
        ("GET", "/sandboxes/metrics".into(), ""),
        ("GET", "/sandboxes/metrics?sandbox_ids=x".into(), ""),
        ("GET", format!("/sandboxes/metrics?sandbox_ids={id},{id}"), ""),
        ("GET", "/v2/sandboxes?limit=0".into(), ""),
        ("GET", "/v2/sandboxes?limit=101".into(), ""),
        ("GET", "/v2/sandboxes?state=dead".into(), ""),
        ("GET", "/v2/sandboxes?order=up".into(), ""),
        ("GET", "/v2/sandboxes?startedAfter=yesterday".into(), ""),
        ("GET", "/v2/sandboxes?nextToken=!!".into(), ""),
        ("GET", "/v2/sandboxes?metadata=%25zz".into(), ""),
        ("GET", "/snapshots?nextToken=AAAA".into(), ""),
        ("GET", "/templates?teamID=00000000-0000-4000-8000-000000000000".into(), ""),
        ("GET", "/events/sandboxes?limit=101".into(), ""),
        ("GET", "/events/sandboxes?limit=0".into(), ""),
        ("GET", "/events/sandboxes?offset=-1".into(), ""),
        ("GET", "/events/sandboxes?offset=99999999999".into(), ""),
        ("GET", "/events/sandboxes?orderAsc=perhaps".into(), ""),
        ("GET", "/events/sandboxes?types=sandbox.lifecycle.created,other".into(), ""),
        ("GET", "/events/sandboxes?reason=boredom".into(), ""),
        ("GET", "/events/sandboxes?template=nothing".into(), ""),
        ("GET", "/events/sandboxes?sandboxID=x".into(), ""),
        ("GET", "/events/sandboxes?start=yesterday".into(), ""),
        ("GET", "/events/sandboxes?start=99999999999999".into(), ""),
        ("GET", "/events/sandboxes?cursor=x".into(), ""),
        ("GET", "/events/sandboxes?cursor=latest".into(), ""),
        ("GET", "/events/sandboxes?orderAsc=true&cursor=bG9nX185OV9fYXNj".into(), ""),
        ("GET", "/events/sandboxes?cursor=bG9nX185OV9fYXNj".into(), ""),
        ("GET", "/events/sandboxes?orderAsc=true&cursor=latest&offset=1".into(), ""),
        ("GET", "/events/sandboxes?wait=1".into(), ""),
        ("GET", "/events/sandboxes?orderAsc=true&wait=61".into(), ""),
        ("GET", format!("/events/sandboxes?metadata={}", "a=b%26".repeat(17)), ""),
        ("GET", "/events/state".into(), ""),
        ("GET", "/events/state?at=soon".into(), ""),
        ("GET", "/events/state?at=9999999999".into(), ""),
        ("GET", "/events/state?at=0&limit=1001".into(), ""),
        ("GET", "/events/state?at=0&cursor=x".into(), ""),
        ("GET", "/usage?by=colour".into(), ""),
        ("GET", "/usage?by=metadata.".into(), ""),
        ("GET", "/usage?format=xml".into(), ""),
        ("GET", "/usage?start=100&end=100".into(), ""),
        ("GET", "/usage?start=9999999999".into(), ""),
        ("GET", "/sandboxes/i00000000000000000000/timeline".into(), ""),
        ("GET", "/events/stream?after=soon".into(), ""),
        ("GET", "/events/stream?lastEventId=-1".into(), ""),
        ("GET", "/events/stream?lastEventId=9223372036854775807".into(), ""),
        ("GET", "/events/stream?types=x".into(), ""),
        ("GET", "/events/sandboxes/undefined".into(), ""),
        ("GET", "/events/sandboxes/i00000000000000000000".into(), ""),
        ("POST", "/events/webhooks".into(), "{"),
        ("POST", "/events/webhooks".into(), r#"{"signatureSecret":"never","events":"x"}"#),
        ("GET", "/events/webhooks/7".into(), ""),
        ("DELETE", "/events/webhooks/00000000-0000-4000-8000-000000000000".into(), ""),
        ("GET", deliveries("start=2026-01-01T00:00:00Z"), ""),
        ("GET", deliveries("start=2026-01-01T00:00:00Z&end=2025-01-01T00:00:00Z"), ""),
        ("GET", deliveries("deliveryStatus=maybe"), ""),
        ("GET", deliveries("cursor=x"), ""),
        ("POST", "/api-keys".into(), r#"{"name":""}"#),
        ("DELETE", "/api-keys/7".into(), ""),
    ];
    let mut log = String::new();
    for (method, path, body) in cases {
        let answer = door.ask(Some(KEY), method, &path, body).await;
        assert_is_error(&answer);
        let path = path.replace(&id, "{id}").replace(&hook, "{webhook}");
        let message = answer.body["message"].as_str().unwrap().replace(&id, "{id}");
        let _ = writeln!(log, "{method} {path} {body}\n    {} {message}", answer.status.as_u16());
    }
    insta::assert_snapshot!(log);
}

#[tokio::test]
async fn a_parameter_that_nothing_reads_is_refused_or_named() {
    let door = Door::open().await;
    let ask = async |path: &str| door.ask(Some(KEY), "GET", path, "").await;
    for (path, name) in [
        ("/usage?groupBy=template", "groupBy"),
        ("/events/state?at=0&when=1", "when"),
        ("/alerts?x=%1b", "x"),
    ] {
        let answer = ask(path).await;
        assert_is_error(&answer);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("there is no query parameter '{name}' here; ")), "{message}");
    }
    for (path, ignored) in [
        ("/events/sandboxes?type=x&limit=1", Some("type")),
        ("/v2/sandboxes?states=running&state=running&a%0ab=1", Some("states,a?b")),
        ("/events/sandboxes?types[]=sandbox.lifecycle.created&types[]=sandbox.lifecycle.killed", None),
        ("/v2/sandboxes?state%5B%5D=running", None),
        ("/v2/sandboxes", None),
    ] {
        let answer = ask(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let header = answer.headers.get("x-ignored-parameters").map(|value| value.to_str().unwrap());
        assert_eq!(header, ignored, "{path}");
    }
    // The key comes first.
    let without = door.ask(None, "GET", "/usage?groupBy=template", "").await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let door = Door::open().await;
    let huge = " ".repeat(MAX_BODY_BYTES + 1);
    let unannounced = door.ask(Some(KEY), "POST", "/v2/sandboxes", &huge).await;
    assert_eq!(unannounced.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_is_error(&unannounced);
    let request =
        Request::post("/events/webhooks").header("x-api-key", KEY).header("content-length", "99999999999");
    let announced = door.send(request.body(Body::from("{")).unwrap()).await;
    assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_browser_is_told_what_it_may_do() {
    let door = Door::open().await;
    let request = Request::options("/v2/sandboxes")
        .header("origin", "https://example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-api-key");
    let answer = door.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let allowed = answer.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("x-api-key") && allowed.contains("sdk_runtime"));
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_a_405_the_allowed_methods() {
    let door = Door::open().await;
    let answer = door.ask(Some(KEY), "PUT", "/v2/sandboxes", "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.headers.contains_key("x-request-id"));
    assert!(answer.headers["allow"].to_str().unwrap().contains("POST"));
}

#[tokio::test]
async fn a_panic_is_a_500_in_json() {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
    let broken = Router::new().route("/", get(async || -> &'static str { panic!("deliberate") }));
    let response =
        layers::wrap(broken, &entropy, Arc::default()).oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["content-type"], "application/json");
}

/// Runs `check` on many values against one server.
fn fuzz<S: Strategy>(strategy: &S, check: &impl AsyncFn(&Door, S::Value)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let door = runtime.block_on(Door::open());
    let config = ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(strategy, |value| {
        runtime.block_on(check(&door, value));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Whatever is written into the query string, reading lists never fails on the server's side.
#[test]
fn any_query_is_answered() {
    let paths = prop::sample::select(vec![
        "/v2/sandboxes",
        "/sandboxes",
        "/snapshots",
        "/events/sandboxes",
        "/v2/templates",
        "/sandboxes/metrics",
        "/sandboxes/i00000000000000000000/metrics",
        "/sandboxes/i00000000000000000000/logs",
        "/v2/sandboxes/i00000000000000000000/logs",
    ]);
    let names = prop::sample::select(vec![
        "limit",
        "nextToken",
        "metadata",
        "state",
        "template",
        "types",
        "offset",
        "name",
        "sandboxID",
        "startedAfter",
        "sandbox_ids",
        "order",
        "start",
        "end",
        "cursor",
        "direction",
        "level",
        "search",
    ]);
    let values = prop_oneof![
        "[a-zA-Z0-9%+=&,_.:-]{0,40}",
        ".{0,20}".prop_map(|text| utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    fuzz(&(paths, names, values), &async |door, (path, name, value)| {
        let answer = door.ask(Some(KEY), "GET", &format!("{path}?{name}={value}"), "").await;
        assert!(!answer.status.is_server_error(), "{} {}", answer.status, answer.body);
    });
}

/// Whatever a path's variable part is, it is found or refused.
#[test]
fn any_id_is_answered() {
    let around = prop::sample::select(vec![
        ("GET", "/sandboxes/", ""),
        ("DELETE", "/sandboxes/", ""),
        ("POST", "/sandboxes/", "/pause"),
        ("GET", "/events/sandboxes/", ""),
        ("GET", "/events/webhooks/", "/stats"),
        ("GET", "/templates/", ""),
        ("DELETE", "/templates/", ""),
        ("GET", "/templates/aliases/", ""),
        ("DELETE", "/api-keys/", ""),
    ]);
    fuzz(&(around, ".{1,40}"), &async |door, ((method, before, after), text)| {
        let text = utf8_percent_encode(&text, NON_ALPHANUMERIC);
        let answer = door.ask(Some(KEY), method, &format!("{before}{text}{after}"), "").await;
        assert!(!answer.status.is_server_error(), "{} {}", answer.status, answer.body);
    });
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        Just("base".into()),
        Just("sandbox.lifecycle.killed".into()),
        Just("https://example.com".into()),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(".{0,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Whatever a body says, it is done or refused.
#[test]
fn any_body_is_answered() {
    let paths = prop::sample::select(vec![
        "/sandboxes",
        "/v2/sandboxes",
        "/api-keys",
        "/events/webhooks",
        "/sandboxes/i00000000000000000000/connect",
        "/sandboxes/i00000000000000000000/timeout",
        "/sandboxes/i00000000000000000000/refreshes",
        "/sandboxes/i00000000000000000000/snapshots",
    ]);
    let keys = prop::sample::select(vec![
        "templateID",
        "timeout",
        "metadata",
        "envVars",
        "network",
        "secure",
        "autoPause",
        "autoResume",
        "name",
        "url",
        "events",
        "signatureSecret",
        "enabled",
        "duration",
    ]);
    let fields = prop::collection::hash_map(keys, any_json(), 0..5);
    fuzz(&(paths, fields, any::<bool>()), &async |door, (path, fields, from_base)| {
        let mut body: serde_json::Map<_, _> =
            fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if from_base {
            body.insert("templateID".to_owned(), "base".into());
        }
        let body = serde_json::Value::Object(body).to_string();
        let answer = door.ask(Some(KEY), "POST", path, &body).await;
        let missing = answer.status == StatusCode::NOT_IMPLEMENTED;
        assert!(missing || answer.status.as_u16() < 500, "{path} {body}: {} {}", answer.status, answer.body);
        if let Some(id) = answer.body["sandboxID"].as_str() {
            let gone = door.ask(Some(KEY), "DELETE", &format!("/sandboxes/{id}"), "").await;
            assert_eq!(gone.status, StatusCode::NO_CONTENT);
        }
    });
}
