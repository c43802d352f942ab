//! What samplers and deliverers recorded, as clients read it.

use std::time::Duration;

use http::StatusCode;
use sandscope_model::{
    Attempt, AttemptOutcome, Clock as _, DeliveryId, ErrorClass, EventId, EventType, MetricField as F,
    Sample, SandboxId, Timestamp, Values, WebhookId,
};
use sandscope_testbed::SeededEntropy;

use super::door::{Door, KEY};

fn sample(sandbox_id: &SandboxId, at: Timestamp, cpu_used: u64) -> Sample {
    Sample {
        sandbox_id: sandbox_id.clone(),
        at,
        values: Values::NONE
            .with(F::CpuUsed, cpu_used)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, 32_681_984)
            .with(F::MemTotal, 507_592_704)
            .with(F::MemCache, 91_234_304)
            .with(F::DiskUsed, 1_514_856_448)
            .with(F::DiskTotal, 2_573_185_024),
    }
}

#[tokio::test]
async fn samples_are_points_at_whole_steps() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let sandbox: SandboxId = id.parse().unwrap();
    let start = door.clock.now();
    let samples = [(0_u64, 2_033), (2, 700), (5, 20), (10, 10)];
    let samples = samples.map(|(s, pct)| sample(&sandbox, start + Duration::from_secs(s), pct));
    door.store.samples.insert_samples(samples.to_vec()).await.unwrap();
    let read = async |query: &str| {
        let answer = door.ask(Some(KEY), "GET", &format!("/sandboxes/{id}/metrics{query}"), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    };
    insta::assert_json_snapshot!(read("").await);
    let s = start.as_second();
    let pct = |body: serde_json::Value| -> Vec<f64> {
        body.as_array().unwrap().iter().map(|point| point["cpuUsedPct"].as_f64().unwrap()).collect()
    };
    assert_eq!(pct(read(&format!("?start={}", s + 5)).await), [0.2, 0.1]);
    assert_eq!(pct(read(&format!("?end={}", s + 5)).await), [20.33, 0.2]);
    assert_eq!(pct(read(&format!("?start={}&end={}", s + 5, s + 5)).await), [0.2]);
    assert_eq!(pct(read(&format!("?start={}", s + 100)).await), [0.0; 0]);
    let batch = door.ask(Some(KEY), "GET", &format!("/sandboxes/metrics?sandbox_ids={id}"), "").await;
    assert_eq!(batch.body["sandboxes"][&id]["cpuUsedPct"], 0.1);
}

#[tokio::test]
async fn attempts_come_in_pages_grouped_by_event() {
    let door = Door::open().await;
    let webhook = door.webhook().await;
    let webhook_id: WebhookId = webhook.parse().unwrap();
    let entropy = SeededEntropy::new(9);
    let events = [EventId::generate(&entropy), EventId::generate(&entropy)];
    let start = door.clock.now();
    let attempts = [(0, 0, true), (1, 1, false), (11, 1, true)].map(|(s, event, success)| Attempt {
        id: DeliveryId::generate(&entropy),
        team_id: door.team,
        webhook_id,
        event_id: events[event],
        sequence: event as u64 + 1,
        sandbox_id: Some("i00000000000000000000".parse().unwrap()),
        event_type: EventType::Killed,
        started_at: start + Duration::from_secs(s),
        duration_ms: 20,
        outcome: if success {
            AttemptOutcome::Success
        } else {
            AttemptOutcome::Failed { class: ErrorClass::HttpError, message: "it answered 500".to_owned() }
        },
        request_url: "https://example.com/h".to_owned(),
        request_headers: "{}".to_owned(),
        request_body: "{}".to_owned(),
        response_status: Some(if success { 200 } else { 500 }),
        response_headers: Some("{}".to_owned()),
        response_body: Some(String::new()),
    });
    door.store.attempts.insert_attempts(attempts.to_vec()).await.unwrap();
    door.clock.advance(Duration::from_secs(60));
    let at = |rest: &str| format!("/events/webhooks/{webhook}{rest}");
    let first = door.ask(Some(KEY), "GET", &at("/deliveries?limit=2"), "").await;
    insta::assert_json_snapshot!(first.body);
    let cursor = first.body["nextCursor"].as_str().unwrap();
    let second = door.ask(Some(KEY), "GET", &at(&format!("/deliveries?limit=2&cursor={cursor}")), "").await;
    assert_eq!(second.body["data"][0]["eventId"], events[0].to_string());
    assert_eq!(second.body["nextCursor"], serde_json::Value::Null);
    let failed = door.ask(Some(KEY), "GET", &at("/deliveries?deliveryStatus=failed"), "").await;
    assert_eq!(failed.body["data"][0]["attempts"][0]["errorClass"], "http_error");
    let stats = door.ask(Some(KEY), "GET", &at("/stats"), "").await;
    assert_eq!((&stats.body["total"], &stats.body["failed"]), (&3.into(), &1.into()));
    insta::assert_json_snapshot!(stats.body);
}
