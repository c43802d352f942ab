//! Who was there, for how long, and what it cost: the ledger agrees with the events to the millisecond.

use std::time::Duration;

use http::{Request, StatusCode};
use sandscope_model::{Clock as _, TeamLimits, Timestamp};
use sandscope_testbed::{Fault, Op, Trigger};
use serde_json::{Value, json};

use super::door::{Door, KEY, OTHER_KEY};

async fn get(door: &Door, path: &str) -> Value {
    let answer = door.ask(Some(KEY), "GET", path, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body
}

async fn post(door: &Door, path: &str, body: &str) {
    let answer = door.ask(Some(KEY), "POST", path, body).await;
    assert!(answer.status.is_success(), "{path}: {}", answer.body);
}

/// Two sandboxes with a history: one gone after two executions, one that runs.
struct Story {
    door: Door,
    gone: String,
    runs: String,
    began: Timestamp,
}

impl Story {
    async fn tell() -> Self {
        let door = Door::with_limits(TeamLimits::default()).await;
        let pass = |ms| door.clock.advance(Duration::from_millis(ms));
        let began = door.clock.now();
        let gone =
            door.sandbox(r#"{"templateID":"base","metadata":{"user":"=a,\"b\""},"timeout":86400}"#).await;
        pass(1_001);
        let runs = door.sandbox(r#"{"templateID":"code-interpreter-v1","timeout":86400}"#).await;
        pass(499);
        post(&door, &format!("/sandboxes/{gone}/pause"), "").await;
        pass(7_000);
        // A resume that fails counts for nothing.
        door.runtime.inject(Trigger::Next(Op::Resume), Fault::Fail);
        let failed = door.ask(Some(KEY), "POST", &format!("/sandboxes/{gone}/resume"), "").await;
        assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
        post(&door, &format!("/sandboxes/{gone}/connect"), r#"{"timeout":86400}"#).await;
        pass(250);
        post(&door, &format!("/sandboxes/{runs}/timeout"), r#"{"timeout":86400}"#).await;
        pass(83);
        let killed = door.ask(Some(KEY), "DELETE", &format!("/sandboxes/{gone}"), "").await;
        assert_eq!(killed.status, StatusCode::NO_CONTENT);
        pass(1_000);
        Self { door, gone, runs, began }
    }

    /// Seconds and a fraction after the beginning, as the API takes times.
    fn after(&self, ms: i64) -> String {
        (self.began + jiff::SignedDuration::from_millis(ms)).to_string()
    }

    async fn usage(&self, query: &str) -> Value {
        get(&self.door, &format!("/usage?{query}")).await
    }
}

#[tokio::test]
async fn what_was_used_is_what_the_events_say() {
    let story = Story::tell().await;
    let events = get(&story.door, &format!("/events/sandboxes/{}?limit=100", story.gone)).await;
    let said: u64 = events
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["eventData"]["execution"]["execution_time"].as_u64())
        .sum();
    assert_eq!(said, 1_500 + 333);
    let report = story.usage("").await;
    let row = |key: &str| {
        let rows = report["rows"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}: {report:#}")).clone()
    };
    let gone = row(&story.gone);
    assert_eq!(
        gone,
        json!({"key": story.gone, "name": null, "executions": 2, "openExecutions": 0, "executionMs": said, "vcpuMs": 2 * said,
               "mibMs": 512 * said, "vcpuSeconds": 3.666, "gibSeconds": 0.9165, "cost": "0.000054990"})
    );
    let runs = row(&story.runs);
    let until_now = 499 + 7_000 + 250 + 83 + 1_000;
    assert_eq!((runs["openExecutions"].as_u64(), runs["executionMs"].as_u64()), (Some(1), Some(until_now)));
    assert_eq!(report["total"]["executionMs"].as_u64(), Some(said + until_now));
    assert_eq!(
        report["prices"],
        json!({"currency": "EUR", "vcpuHour": "0.050000000", "gibHour": "0.016000000"})
    );

    let by_label = story.usage("by=metadata.user").await;
    let keys: Vec<&Value> = by_label["rows"].as_array().unwrap().iter().map(|row| &row["key"]).collect();
    assert_eq!(keys, [&json!("=a,\"b\""), &Value::Null]);
    assert_eq!(by_label["total"], report["total"]);
    let by_template = story.usage("by=template").await;
    assert_eq!(by_template["total"], report["total"]);
    let mut names: Vec<&str> =
        by_template["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["base", "code-interpreter-v1"]);
    let other = story.door.ask(Some(OTHER_KEY), "GET", "/usage", "").await;
    assert_eq!(other.body["rows"], json!([]));
}

#[tokio::test]
async fn windows_that_adjoin_add_up() {
    let story = Story::tell().await;
    let whole = story.usage("").await["total"]["executionMs"].as_u64().unwrap();
    let mut sum = 0;
    let cuts = [0, 1, 700, 1_001, 1_400, 1_500, 5_000, 8_499, 8_500, 8_700, 8_832, 8_833, 9_000, 60_000];
    for pair in cuts.windows(2) {
        let query = format!("start={}&end={}", story.after(pair[0]), story.after(pair[1]));
        sum += story.usage(&query).await["total"]["executionMs"].as_u64().unwrap();
    }
    assert_eq!(sum, whole);
    let while_paused = format!("start={}&end={}", story.after(2_000), story.after(3_000));
    let rows = story.usage(&while_paused).await["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!((&rows[0]["key"], rows[0]["executionMs"].as_u64()), (&json!(story.runs), Some(1_000)));
}

#[tokio::test]
async fn the_report_is_also_a_table() {
    let story = Story::tell().await;
    let request =
        Request::get("/usage?by=metadata.user").header("x-api-key", KEY).header("accept", "text/csv");
    let answer = story.door.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let csv = answer.body.as_str().unwrap();
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(
        lines[..2],
        [
            "key,name,executions,open_executions,execution_ms,vcpu_ms,mib_ms,vcpu_seconds,gib_seconds,cost,currency",
            "\"=a,\"\"b\"\"\",,2,0,1833,3666,938496,3.666,0.9165,0.000054990,EUR",
        ]
    );
    assert!(lines[2].starts_with(",,1,1,"), "{csv}");
    let forced = story.door.ask(Some(KEY), "GET", "/usage?format=csv&by=template", "").await;
    let forced = forced.body.as_str().unwrap();
    assert!(forced.starts_with("key,name,") && forced.contains(",base,2,0,1833,"), "{forced}");
}

#[tokio::test]
async fn the_timeline_is_the_life() {
    let story = Story::tell().await;
    let line = get(&story.door, &format!("/sandboxes/{}/timeline", story.gone)).await;
    assert_eq!((line["complete"].as_bool(), line["runningMs"].as_u64()), (Some(true), Some(1_833)));
    let told: Vec<_> = line["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| {
            (
                segment["state"].as_str().unwrap(),
                segment["durationMs"].as_u64().unwrap(),
                segment["endedBy"].as_str().unwrap(),
                segment["killReason"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("running", 1_500, "paused", None),
            ("paused", 7_000, "resumed", None),
            ("running", 333, "killed", Some("request")),
        ]
    );
    let open = get(&story.door, &format!("/sandboxes/{}/timeline", story.runs)).await;
    assert_eq!(open["segments"][0]["endedAt"], Value::Null);
    assert_eq!((open["runningMs"].as_u64(), open["pausedMs"].as_u64()), (Some(8_832), Some(0)));
    let unknown = story.door.ask(Some(KEY), "GET", "/sandboxes/i00000000000000000000/timeline", "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_state_at_a_time_is_what_it_was() {
    let story = Story::tell().await;
    let at = async |ms: i64| {
        let body = get(&story.door, &format!("/events/state?at={}", story.after(ms))).await;
        let mut found: Vec<(String, String)> = body["sandboxes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|state| {
                let text = |key: &str| state[key].as_str().unwrap().to_owned();
                (text("sandboxID").replace(&story.gone, "gone").replace(&story.runs, "runs"), text("state"))
            })
            .collect();
        found.sort();
        found
    };
    let pair = |id: &str, state: &str| (id.to_owned(), state.to_owned());
    assert_eq!(at(-1).await, []);
    assert_eq!(at(0).await, [pair("gone", "running")]);
    assert_eq!(at(1_001).await, [pair("gone", "running"), pair("runs", "running")]);
    assert_eq!(at(1_500).await, [pair("gone", "paused"), pair("runs", "running")]);
    assert_eq!(at(8_500).await, [pair("gone", "running"), pair("runs", "running")]);
    assert_eq!(at(8_833).await, [pair("runs", "running")]);

    let (mut cursor, mut ids) = (String::new(), Vec::new());
    loop {
        let path = format!("/events/state?at={}&limit=1&cursor={cursor}", story.after(2_000));
        let page = story.door.ask(Some(KEY), "GET", &path, "").await;
        let next = page.headers.get("x-next-cursor").map(|value| value.to_str().unwrap().to_owned());
        ids.extend(page.body["sandboxes"].as_array().unwrap().iter().map(|state| state["sandboxID"].clone()));
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    let mut expected = [json!(story.gone), json!(story.runs)];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn what_retention_has_removed_is_refused_and_what_is_left_is_still_right() {
    let story = Story::tell().await;
    // Everything but the kill of the one that is gone, which was recorded last.
    let cutoff = story.began + jiff::SignedDuration::from_millis(8_800);
    let retention = jiff::SignedDuration::from_hours(7 * 24);
    story.door.store.facts.delete_expired(cutoff + retention).await.unwrap();
    assert_eq!(story.door.store.events.log_bounds(story.door.team).await.unwrap().0, 6);
    for path in [
        format!("/usage?start={}", story.after(8_750)),
        format!("/usage?start={}", story.after(0)),
        format!("/events/state?at={}", story.after(8_750)),
    ] {
        let refused = story.door.ask(Some(KEY), "GET", &path, "").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(refused.body["error_code"], "history_expired");
    }
    let usage = story.usage("").await;
    let executions: Vec<u64> =
        usage["rows"].as_array().unwrap().iter().map(|row| row["executionMs"].as_u64().unwrap()).collect();
    // From one millisecond after the last event that was removed.
    assert_eq!(executions.iter().sum::<u64>(), 82 + 1_082);
    // Neither of them has an event of before any more.
    let state = get(&story.door, &format!("/events/state?at={}", story.after(8_800))).await;
    let states: Vec<_> = state["sandboxes"].as_array().unwrap().iter().map(|s| &s["state"]).collect();
    assert_eq!(states, [&json!("running"), &json!("running")]);
    let line = get(&story.door, &format!("/sandboxes/{}/timeline", story.gone)).await;
    assert_eq!((line["complete"].as_bool(), line["runningMs"].as_u64()), (Some(false), Some(333)));
    let line = get(&story.door, &format!("/sandboxes/{}/timeline", story.runs)).await;
    assert_eq!((line["complete"].as_bool(), line["runningMs"].as_u64()), (Some(false), Some(8_832)));
}
