//! A time in an answer is the time that is stored: whoever made something and reads it again sees no other.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::door::{Door, KEY};

/// Every text in `body` that is a time, by its key.
fn times(body: &Value) -> Vec<(String, String)> {
    let Value::Object(fields) = body else { return Vec::new() };
    let times = fields.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    times.filter(|(_, text)| text.parse::<sandscope_model::Timestamp>().is_ok()).collect()
}

/// The element of the list `body`, or `body` itself, that has `id`.
fn found(body: &Value, id: &Value) -> Value {
    let list = body.as_array().or_else(|| body["items"].as_array()).cloned();
    list.map_or_else(
        || body.clone(),
        |list| list.into_iter().find(|item| item["id"] == *id).unwrap_or_default(),
    )
}

#[tokio::test]
async fn what_is_made_is_answered_as_it_is_read_again() {
    let door = Door::open().await;
    // Finer than anything keeps.
    door.clock.advance(Duration::from_nanos(3_123_456_789));
    let sandbox = door.sandbox(r#"{"templateID":"base"}"#).await;
    let webhook = door.webhook().await;
    let webhooks = "/events/webhooks";
    let replays = format!("{webhooks}/{webhook}/replays");
    let new_webhook = json!({"name": "n", "url": "https://example.com/n", "events": ["sandbox.lifecycle.killed"],
        "signatureSecret": "0123456789abcdef0123456789abcdef"});
    let rule = json!({"name": "busy", "metric": "cpuPct", "above": 80, "clear": 60, "forSeconds": 300});
    let made = [
        (webhooks.to_owned(), new_webhook),
        ("/api-keys".to_owned(), json!({"name": "k"})),
        ("/alerts/rules".to_owned(), rule),
        (replays, json!({"select": "all"})),
    ];
    let mut n_times = 0;
    for (path, body) in made {
        let answer = door.ask(Some(KEY), "POST", &path, &body.to_string()).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        let list = door.ask(Some(KEY), "GET", &path, "").await;
        assert_eq!(list.status, StatusCode::OK, "{path}: {}", list.body);
        let read = found(&list.body, &answer.body["id"]);
        let times = times(&answer.body);
        assert!(!times.is_empty(), "{path} answers no time: {}", answer.body);
        for (key, time) in times {
            assert_eq!(read[&key], json!(time), "{path}: {key} of {}", list.body);
            n_times += 1;
        }
    }
    assert!(n_times >= 4);
    // What a sandbox's answers and its events say is the same, too.
    let shown = door.ask(Some(KEY), "GET", &format!("/sandboxes/{sandbox}"), "").await.body;
    let stored = door.store.facts.sandbox(&sandbox.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(shown["startedAt"], json!(stored.started_at.to_string()));
    assert_eq!(shown["endAt"], json!(stored.end_at.to_string()));
    let secret = format!("{webhooks}/{webhook}/secret");
    let changed = door.ask(Some(KEY), "POST", &secret, "{}").await.body;
    let stored = door.store.deliveries.webhook(door.team, webhook.parse().unwrap()).await.unwrap().unwrap();
    let until = stored.previous_secret.unwrap().until;
    assert_eq!(changed["previousValidUntil"], json!(until.to_string()));
}
