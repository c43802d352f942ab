//! Webhooks beyond the original's five fields: options, replays, secrets.

use http::StatusCode;
use serde_json::{Value, json};

use super::door::{Door, KEY};

async fn ask(door: &Door, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let answer = door.ask(Some(KEY), method, path, &body.to_string()).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn options_are_kept_shown_and_changed_one_by_one() {
    let door = Door::open().await;
    let id = door.webhook().await;
    let path = format!("/events/webhooks/{id}");
    let given = json!({
        "ordering": "strict", "retry": {"policy": "custom", "delaysSeconds": [1, 60]}, "timeoutSeconds": 5,
        "maxInFlight": 16, "ratePerSecond": 100, "disableAfterSeconds": 3600, "payload": "cloudevents",
        "filter": {"metadata": {"user": "u1"}, "templates": ["base"], "reasons": ["oom"]},
        "headers": {"X-Token": "hidden"}, "events": ["webhook.disabled", "sandbox.lifecycle.killed"],
    });
    let (status, changed) = ask(&door, "PATCH", &path, &given).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let (_, shown) = ask(&door, "GET", &path, &json!(null)).await;
    for key in [
        "ordering",
        "retry",
        "timeoutSeconds",
        "maxInFlight",
        "ratePerSecond",
        "disableAfterSeconds",
        "payload",
    ] {
        assert_eq!(shown[key], given[key], "{key}");
    }
    assert_eq!(shown["filter"]["metadata"], given["filter"]["metadata"]);
    assert_ne!(shown["filter"]["templates"][0], "base", "names are resolved when they are given");
    assert_eq!(shown["headers"], json!({"x-token": "[redacted]"}));
    assert_eq!(shown["status"]["exhausted"], 0);
    let (_, less) = ask(&door, "PATCH", &path, &json!({"ratePerSecond": 0, "headers": {}})).await;
    assert_eq!((less.get("ratePerSecond"), less.get("headers")), (None, None));
    assert_eq!(less["ordering"], "strict");
}

#[tokio::test]
async fn nonsense_in_options_is_told_all_at_once() {
    let door = Door::open().await;
    let id = door.webhook().await;
    let given = json!({
        "retry": {"policy": "never"}, "timeoutSeconds": 301, "maxInFlight": 65, "disableAfterSeconds": 5,
        "filter": {"templates": ["no-such"], "reasons": ["boredom"]},
        "headers": {"Host": "x", "bad name": "x", "x-a": "one\r\ntwo", "E2B-Signature": "x", "transfer-encoding": "x"},
        "signatureSecret": "whsec_!",
    });
    let (status, answer) = ask(&door, "PATCH", &format!("/events/webhooks/{id}"), &given).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["message"].as_str().unwrap();
    for part in [
        "retry.policy:",
        "timeoutSeconds:",
        "maxInFlight:",
        "disableAfterSeconds:",
        "'no-such' not found",
        "'boredom'",
        "'host' must not be set",
        "'bad name' is no header name",
        "'x-a' must be one line",
        "'e2b-signature' must not be set",
        "'transfer-encoding' must not be set",
        "whsec_ must be base64",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    for body in [json!({"ordering": "sideways"}), json!({"payload": 7}), json!({"retry": "e2b"})] {
        let (status, _) = ask(&door, "PATCH", &format!("/events/webhooks/{id}"), &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn replays_are_started_listed_and_canceled() {
    let door = Door::open().await;
    let id = door.webhook().await;
    let path = format!("/events/webhooks/{id}/replays");
    let (status, empty) = ask(&door, "POST", &path, &json!({})).await;
    assert_eq!((status, &empty["state"], &empty["total"]), (StatusCode::ACCEPTED, &json!("done"), &json!(0)));
    door.sandbox(r#"{"templateID":"base"}"#).await;
    let (status, running) = ask(&door, "POST", &path, &json!({"select": "all", "ratePerSecond": 5})).await;
    assert_eq!(
        (status, &running["state"], &running["total"]),
        (StatusCode::ACCEPTED, &json!("running"), &json!(1))
    );
    let one = format!("{path}/{}", running["id"].as_str().unwrap());
    assert_eq!(ask(&door, "GET", &one, &json!(null)).await.1["state"], "running");
    assert_eq!(ask(&door, "DELETE", &one, &json!(null)).await.1["state"], "canceled");
    assert_eq!(ask(&door, "DELETE", &one, &json!(null)).await.0, StatusCode::CONFLICT);
    let (_, listed) = ask(&door, "GET", &path, &json!(null)).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    for body in [
        json!({"select": "some"}),
        json!({"since": "2030-01-01T00:00:00Z", "until": "2029-01-01T00:00:00Z"}),
        json!({"ratePerSecond": 0}),
        json!({"since": "yesterday"}),
    ] {
        assert_eq!(ask(&door, "POST", &path, &body).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    ask(&door, "PATCH", &format!("/events/webhooks/{id}"), &json!({"enabled": false})).await;
    assert_eq!(ask(&door, "POST", &path, &json!({})).await.0, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_once_do_not_undo_each_other() {
    let door = Door::open().await;
    let id = door.webhook().await;
    let (path, secret) = (format!("/events/webhooks/{id}"), format!("/events/webhooks/{id}/secret"));
    for n in 1..=20 {
        let named = json!({"name": format!("n{n}"), "enabled": true});
        let (timed, wide, at_once) =
            (json!({"timeoutSeconds": n}), json!({"maxInFlight": n}), json!({"overlapSeconds": 0}));
        let (one, two, three, drawn) = tokio::join!(
            ask(&door, "PATCH", &path, &named),
            ask(&door, "PATCH", &path, &timed),
            ask(&door, "PATCH", &path, &wide),
            ask(&door, "POST", &secret, &at_once),
        );
        for (status, body) in [&one, &two, &three, &drawn] {
            assert_eq!(*status, StatusCode::OK, "{body}");
        }
        let (_, now) = ask(&door, "GET", &path, &json!(null)).await;
        assert_eq!(now["name"], format!("n{n}"));
        assert_eq!((&now["timeoutSeconds"], &now["maxInFlight"]), (&json!(n), &json!(n)));
        let stored = door.store.deliveries.webhook(door.team, id.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.signature_secret.expose(), drawn.1["signatureSecret"].as_str().unwrap());
    }
}

#[tokio::test]
async fn what_there_is_not_in_options_is_refused_by_name() {
    let door = Door::open().await;
    let path = format!("/events/webhooks/{}", door.webhook().await);
    for (body, word) in [
        (json!({"filter": {"reason": ["oom"]}}), "unknown field `reason`"),
        (json!({"retry": {"policy": "custom", "delays": [1]}}), "unknown field `delays`"),
        (json!({"ordering": "sometimes"}), "unknown variant `sometimes`"),
    ] {
        let (status, answer) = ask(&door, "PATCH", &path, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer["message"].as_str().unwrap().contains(word), "{answer}");
    }
    for body in
        [json!({"ordering": "x".repeat(100_000)}), json!({"timeoutSeconds": "unknown field whsec_c2VjcmV0"})]
    {
        let (_, answer) = ask(&door, "PATCH", &path, &body).await;
        let message = answer["message"].as_str().unwrap();
        assert!(message.len() < 200 && !message.contains("whsec_"), "{message}");
    }
}

#[tokio::test]
async fn a_secret_is_changed_with_an_overlap_and_a_drawn_one_is_shown_once() {
    let door = Door::open().await;
    let id: sandscope_model::WebhookId = door.webhook().await.parse().unwrap();
    let path = format!("/events/webhooks/{id}/secret");
    let (status, drawn) = ask(&door, "POST", &path, &json!({"overlapSeconds": 60})).await;
    assert_eq!(status, StatusCode::OK, "{drawn}");
    let secret = drawn["signatureSecret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    let stored = door.store.deliveries.webhook(door.team, id).await.unwrap().unwrap();
    assert_eq!(stored.signature_secret.expose(), secret);
    assert_eq!(stored.previous_secret.unwrap().secret.expose(), "0123456789abcdef0123456789abcdef");
    let (status, refused) = ask(&door, "POST", &path, &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "two count already: {refused}");
    let (_, chosen) =
        ask(&door, "POST", &path, &json!({"signatureSecret": "mine", "overlapSeconds": 0})).await;
    assert_eq!(chosen.get("signatureSecret"), None);
    assert_eq!(door.store.deliveries.webhook(door.team, id).await.unwrap().unwrap().previous_secret, None);
    for body in
        [json!({"signatureSecret": ""}), json!({"overlapSeconds": 9_999_999}), json!({"signatureSecret": 7})]
    {
        assert_eq!(ask(&door, "POST", &path, &body).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    let test = format!("/events/webhooks/{id}/test");
    assert_eq!(ask(&door, "POST", &test, &json!(null)).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_sandbox_is_made_with_webhooks_of_its_own_that_hear_of_its_beginning() {
    let door = Door::open().await;
    door.sandbox(r#"{"templateID":"base"}"#).await;
    let body = json!({
        "templateID": "base",
        "webhooks": [{
            "url": "https://example.com/h", "events": ["sandbox.lifecycle.created"], "signatureSecret": "s",
            "ordering": "strict",
        }],
    });
    let (status, made) = ask(&door, "POST", "/v2/sandboxes", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (_, listed) = ask(&door, "GET", "/events/webhooks", &json!(null)).await;
    assert_eq!(listed[0]["sandboxID"], made["sandboxID"]);
    assert_eq!(listed[0]["ordering"], "strict");
    let id = listed[0]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(door.store.deliveries.cursor(id).await.unwrap(), Some(1), "its `created` is the second event");
    for bad in [json!([{"url": "ftp://x"}]), json!([{}, {}, {}, {}, {}, {}]), json!({})] {
        let body = json!({"templateID": "base", "webhooks": bad});
        assert_eq!(ask(&door, "POST", "/v2/sandboxes", &body).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn types_stay_in_the_order_given_and_urls_lose_what_a_paste_brought_along() {
    let door = Door::open().await;
    let types = json!(["sandbox.lifecycle.paused", "sandbox.lifecycle.created", "sandbox.lifecycle.paused"]);
    let new = json!({"name": "n", "url": " Https://b\u{fc}cher.example/hook\n", "events": types, "signatureSecret": "s"});
    let (status, made) = ask(&door, "POST", "/events/webhooks", &new).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let path = format!("/events/webhooks/{}", made["id"].as_str().unwrap());
    for shown in [made, ask(&door, "GET", &path, &json!(null)).await.1] {
        assert_eq!(shown["events"], json!(["sandbox.lifecycle.paused", "sandbox.lifecycle.created"]));
        assert_eq!(shown["url"], "https://xn--bcher-kva.example/hook");
    }
}

#[tokio::test]
async fn replays_take_the_times_that_events_take() {
    let door = Door::open().await;
    let path = format!("/events/webhooks/{}/replays", door.webhook().await);
    for since in [json!("1970-01-01T00:00:01Z"), json!(1), json!("1"), json!("10m"), json!(null)] {
        let (status, answer) = ask(&door, "POST", &path, &json!({"select": "all", "since": since})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{since}: {answer}");
    }
    let (status, answer) = ask(&door, "POST", &path, &json!({"since": "yesterday"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["message"].as_str().unwrap();
    assert!(message.starts_with("since must be a time (RFC 3339)"), "{message}");
}
