//! Events say which key asked, under which request id, and from where.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use super::door::{Door, KEY};
use crate::RemoteAddress;

#[tokio::test]
async fn every_change_asked_for_here_names_key_request_and_address() {
    let door = Door::open().await;
    let key = door.ask(Some(KEY), "GET", "/api-keys", "").await.body[0].clone();
    let ask = |id: &str, method: &str, path: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-api-key", KEY)
            .header("x-request-id", id)
            .extension(RemoteAddress([192, 0, 2, 7].into()));
        door.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    let long = "x".repeat(500);
    let made = ask("r-create", "POST", "/v2/sandboxes", r#"{"templateID":"base"}"#).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let id = made.body["sandboxID"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("/sandboxes/{id}{rest}");
    for (request, method, path, body) in [
        ("r-timeout", "POST", at("/timeout"), r#"{"timeout":60}"#),
        ("r-refresh", "POST", at("/refreshes"), "{}"),
        ("r-snapshot", "POST", at("/snapshots"), "{}"),
        ("r-pause", "POST", at("/pause"), "{}"),
        ("r-resume", "POST", at("/resume"), "{}"),
        ("r-connect", "POST", at("/connect"), r#"{"timeout":60}"#),
        (&long, "DELETE", at(""), ""),
    ] {
        assert!(ask(request, method, &path, body).await.status.is_success(), "{method} {path}");
    }
    let events = door.ask(Some(KEY), "GET", "/events/sandboxes?limit=100&orderAsc=true", "").await.body;
    let events = events.as_array().unwrap();
    let expected = [
        "r-create",
        "r-timeout",
        "r-refresh",
        "r-snapshot",
        "r-pause",
        "r-resume",
        "r-connect",
        &long[..128],
    ];
    assert_eq!(events.len(), expected.len());
    for ((event, request), sequence) in events.iter().zip(expected).zip(1..) {
        assert_eq!(event["sequence"], sequence);
        let data = &event["eventData"];
        assert_eq!(
            data["actor"],
            json!({"type": "api_key", "id": key["id"], "name": key["name"]}),
            "{event}"
        );
        assert_eq!(data["request_id"], request);
        assert_eq!(data["remote_address"], "192.0.2.7");
    }
}
