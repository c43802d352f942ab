//! Input nobody should send: the right status, always as JSON, never a 5xx.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
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
        ("GET", "/sandboxes/undefined".into(), ""),
        ("GET", "/sandboxes/a-b-c".into(), ""),
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
    let response = layers::wrap(broken, &entropy).oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["content-type"], "application/json");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is written into the query string, reading lists never fails on the server's side.
    #[test]
    fn any_query_is_answered(
        path in prop::sample::select(vec![
            "/v2/sandboxes", "/sandboxes", "/snapshots", "/events/sandboxes", "/v2/templates", "/sandboxes/metrics",
        ]),
        name in prop::sample::select(vec!["limit", "nextToken", "metadata", "state", "template", "types", "offset",
                                          "name", "sandboxID", "startedAfter", "sandbox_ids", "order"]),
        value in "[a-zA-Z0-9%+=&,_.:-]{0,40}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let door = Door::open().await;
            let answer = door.ask(Some(KEY), "GET", &format!("{path}?{name}={value}"), "").await;
            assert!(!answer.status.is_server_error(), "{} {}", answer.status, answer.body);
        });
    }
}
