//! Every endpoint, one by one: documented, behind a key, closed to other teams.

use http::StatusCode;

use super::door::{Door, KEY, OTHER_KEY};
use crate::openapi::is_admin;
use crate::{openapi, paths};

/// Every documented operation but the one open to everybody.
fn operations() -> Vec<(&'static str, String)> {
    let mut operations = Vec::new();
    for (path, item) in openapi().paths.paths {
        for (method, operation) in [
            ("GET", item.get),
            ("POST", item.post),
            ("PUT", item.put),
            ("PATCH", item.patch),
            ("DELETE", item.delete),
        ] {
            // What is the operator's has a test of its own.
            if operation.is_some() && path != paths::HEALTH && !is_admin(&path) {
                operations.push((method, path.clone()));
            }
        }
    }
    operations
}

/// `path` with its variable parts filled in.
fn filled(path: &str, sandbox: &str, webhook: &str) -> String {
    path.replace("{sandboxID}", sandbox)
        .replace("{webhookID}", webhook)
        .replace("{teamID}", "00000000-0000-4000-8000-000000000000")
        .replace("{templateID}", "acme%2Fkept")
        .replace("{alias}", "acme%2Fkept")
        .replace("{apiKeyID}", "00000000-0000-4000-8000-000000000000")
        .replace("{deliveryID}", "00000000-0000-4000-8000-000000000000")
        .replace("{ruleID}", "00000000-0000-4000-8000-000000000000")
        .replace("{replayID}", "00000000-0000-4000-8000-000000000000")
}

#[test]
fn the_document_is_reviewed() {
    insta::assert_json_snapshot!(openapi());
}

#[tokio::test]
async fn the_document_is_served() {
    let door = Door::open().await;
    let answer = door.ask(None, "GET", "/openapi.json", "").await;
    assert_eq!(answer.body, serde_json::to_value(openapi()).unwrap());
}

#[test]
fn nothing_is_both_documented_and_missing() {
    let documented = operations();
    assert!(documented.len() > 30);
    for (method, path) in paths::NOT_IMPLEMENTED {
        assert!(!documented.iter().any(|(m, p)| m == method && p == path), "{method} {path}");
    }
}

#[tokio::test]
async fn every_documented_endpoint_asks_for_a_key_before_anything_else() {
    let door = Door::open().await;
    let missing = paths::NOT_IMPLEMENTED.iter().map(|(method, path)| (*method, (*path).to_owned()));
    for (method, path) in operations().into_iter().chain(missing) {
        let path = filled(&path, "undefined", "undefined");
        let unknown = format!("e2b_{}", "f".repeat(40));
        for (key, message) in [
            (None, "authorization header is missing"),
            (Some("nonsense"), "authorization header is malformed"),
            (Some("e2b_nothex"), "Invalid API key: a key is e2b_ and 40 hexadecimal digits"),
            (Some(unknown.as_str()), "Invalid API key: this server knows no such key, or it was deleted"),
        ] {
            let answer = door.ask(key, method, &path, "not json").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(answer.body["code"], 401);
            let said = answer.body["message"].as_str().unwrap();
            assert!(said.starts_with(message) && !said.contains("://"), "{said}");
        }
    }
}

#[tokio::test]
async fn what_another_team_owns_does_not_exist() {
    let door = Door::open().await;
    let sandbox = door.sandbox(r#"{"templateID":"base"}"#).await;
    let snapshot = format!("/sandboxes/{sandbox}/snapshots");
    assert_eq!(
        door.ask(Some(KEY), "POST", &snapshot, r#"{"name":"kept"}"#).await.status,
        StatusCode::CREATED
    );
    let webhook = door.webhook().await;
    let mine = door.ask(Some(KEY), "GET", "/api-keys", "").await.body[0]["id"].as_str().unwrap().to_owned();
    for (method, path) in operations() {
        let path = path.replace("{apiKeyID}", &mine);
        if !path.contains('{') && !path.contains(&mine) {
            continue;
        }
        let body = match path.as_str() {
            paths::SANDBOX_CONNECT | paths::SANDBOX_TIMEOUT => r#"{"timeout":5}"#,
            _ if path.starts_with("/api-keys") => r#"{"name":"stolen"}"#,
            _ => "{}",
        };
        let path = filled(&path, &sandbox, &webhook);
        let answer = door.ask(Some(OTHER_KEY), method, &path, body).await;
        if path.starts_with("/teams/") {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        } else if path.ends_with("/metrics") {
            assert_eq!((answer.status, answer.body), (StatusCode::OK, serde_json::json!([])), "{path}");
        } else {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.body);
        }
    }
    for (method, path) in paths::NOT_IMPLEMENTED {
        if path.contains("{sandboxID}") || path.contains("{templateID}") {
            let answer = door.ask(Some(OTHER_KEY), method, &filled(path, &sandbox, &webhook), "{}").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.body);
        }
    }
    for path in ["/sandboxes", "/v2/sandboxes", "/snapshots", "/events/sandboxes", "/events/webhooks"] {
        assert_eq!(door.ask(Some(OTHER_KEY), "GET", path, "").await.body, serde_json::json!([]), "{path}");
    }
    let batch = format!("/sandboxes/metrics?sandbox_ids={sandbox}");
    assert_eq!(door.ask(Some(OTHER_KEY), "GET", &batch, "").await.body["sandboxes"], serde_json::json!({}));
    let from = door.ask(Some(OTHER_KEY), "POST", "/v2/sandboxes", r#"{"templateID":"acme/kept"}"#).await;
    assert_eq!(from.status, StatusCode::NOT_FOUND);
    assert_eq!(door.ask(Some(KEY), "GET", &format!("/sandboxes/{sandbox}"), "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_missing_says_so() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    for (method, path) in paths::NOT_IMPLEMENTED {
        let there = path.replace("{sandboxID}", &id).replace("{templateID}", "base").replace(['{', '}'], "");
        let answer = door.ask(Some(KEY), method, &there, "").await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{method} {path}");
        assert_eq!(
            answer.body["message"],
            format!("{method} {path} is not implemented by this server yet").as_str()
        );
    }

    // What does not exist is said first.
    let gone = door.sandbox(r#"{"templateID":"base"}"#).await;
    door.ask(Some(KEY), "DELETE", &format!("/sandboxes/{gone}"), "").await;
    let of_live_ones = paths::NOT_IMPLEMENTED
        .iter()
        .filter(|(_, path)| path.contains("{sandboxID}") && !path.ends_with("/record"));
    for (method, path) in of_live_ones {
        for (id, status) in [
            (gone.as_str(), StatusCode::NOT_FOUND),
            ("i00000000000000000000", StatusCode::NOT_FOUND),
            ("UPPER", StatusCode::BAD_REQUEST),
        ] {
            let answer = door.ask(Some(KEY), method, &path.replace("{sandboxID}", id), "").await;
            assert_eq!(answer.status, status, "{method} {path} {id}");
        }
    }
}
