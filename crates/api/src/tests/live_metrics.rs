//! Live metrics: who follows, what they get, and when it ends.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use http_body_util::BodyExt as _;
use sandscope_model::{Clock as _, MetricField as F, Sample, TeamId, Values};
use sandscope_sampler::{LivePoint, LiveRound};

use super::door::{Door, KEY, OTHER_KEY};

/// The door's limit.
const MAX_PER_TEAM: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);

async fn piece(response: &mut Response) -> Option<String> {
    let next = tokio::time::timeout(PATIENCE, response.body_mut().frame()).await.expect("nothing comes");
    let data = next?.unwrap().into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}

fn point(door: &Door, team_id: TeamId, id: &str, cpu_used: u64) -> LivePoint {
    let sample = Sample {
        sandbox_id: id.parse().unwrap(),
        at: door.clock.now(),
        values: Values::NONE
            .with(F::CpuUsed, cpu_used)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, 1)
            .with(F::MemTotal, 2)
            .with(F::MemCache, 3)
            .with(F::DiskUsed, 4)
            .with(F::DiskTotal, 5)
            .with(F::Processes, 6)
            .with(F::OomKills, 0),
    };
    LivePoint { team_id, sample, totals: Values::NONE, pressures: None }
}

fn publish(door: &Door, points: Vec<LivePoint>) {
    door.clock.advance(Duration::from_secs(1));
    door.live.publish(LiveRound { at: door.clock.now(), uptime: door.clock.uptime(), points });
}

#[tokio::test]
async fn a_stream_begins_with_what_is_in_memory_and_ends_with_the_sandbox() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    for n in 0..3 {
        publish(&door, vec![point(&door, door.team, &id, u64::try_from(n).unwrap() * 100)]);
    }
    let mut stream = door.open_stream(&format!("/sandboxes/{id}/metrics/stream?last=2"), None).await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(piece(&mut stream).await.unwrap(), ": following\n\n");
    for n in 1..3 {
        assert!(piece(&mut stream).await.unwrap().contains(&format!("\"cpuUsedPct\":{n},")));
    }
    publish(&door, vec![point(&door, door.team, &id, 5_000)]);
    insta::assert_snapshot!(piece(&mut stream).await.unwrap());
    door.ask(Some(KEY), "POST", &format!("/sandboxes/{id}/pause"), "").await;
    publish(&door, Vec::new());
    assert_eq!(piece(&mut stream).await.unwrap(), ": paused\n\n");
    door.ask(Some(KEY), "DELETE", &format!("/sandboxes/{id}"), "").await;
    publish(&door, Vec::new());
    assert_eq!(piece(&mut stream).await.unwrap(), "event: end\ndata: {}\n\n");
    assert_eq!(piece(&mut stream).await, None);
}

#[tokio::test]
async fn a_team_sees_all_of_its_own_and_nobody_else_s() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let mut stream = door.open_stream("/sandboxes/metrics/stream", None).await;
    assert_eq!(piece(&mut stream).await.unwrap(), ": following\n\n");
    let other: TeamId = "00000000-0000-4000-8000-0000000000ff".parse().unwrap();
    let foreign = point(&door, other, "i00000000000000000009", 100);
    publish(&door, vec![point(&door, door.team, &id, 1_250), foreign]);
    insta::assert_snapshot!(piece(&mut stream).await.unwrap().replace(&id, "{id}"));
    door.health.send(crate::Health::Draining).unwrap();
    assert_eq!(piece(&mut stream).await.unwrap(), ": the server is about to stop\n\n");
    assert_eq!(piece(&mut stream).await, None);
}

#[tokio::test]
async fn streams_are_bounded_per_team_and_free_their_place() {
    let door = Door::open().await;
    let mut streams = Vec::new();
    for _ in 0..MAX_PER_TEAM {
        streams.push(door.open_stream("/sandboxes/metrics/stream", None).await);
    }
    let refused = door.ask(Some(KEY), "GET", "/sandboxes/metrics/stream", "").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
    streams.clear();
    // A stream notices that its reader is gone when it has something to say.
    let again = async {
        loop {
            publish(&door, Vec::new());
            tokio::task::yield_now().await;
            let stream = door.open_stream("/sandboxes/metrics/stream", None).await;
            if stream.status() == StatusCode::OK {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("places are given back");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off() {
    let door = Door::open().await;
    let hangup = crate::Hangup(Arc::default());
    let stream = door.open_stream("/sandboxes/metrics/stream", Some(hangup.clone())).await;
    let cut = async {
        loop {
            publish(&door, Vec::new());
            // sleep: the pace of the load
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            () = cut => {}
            () = hangup.0.notified() => {}
        }
    });
    told.await.expect("its connection is asked to end");
    drop(stream);
}

#[tokio::test]
async fn a_team_s_activity_is_there_from_its_first_minute() {
    let door = Door::open().await;
    let path = format!("/teams/{}/metrics", door.team);
    let second = Duration::from_secs(1);
    let first = door.sandbox(r#"{"templateID":"base"}"#).await;
    door.clock.advance(second * 7);
    let other = door.sandbox(r#"{"templateID":"base"}"#).await;
    door.clock.advance(second * 5);
    door.ask(Some(KEY), "POST", &format!("/sandboxes/{first}/pause"), "").await;
    door.clock.advance(second * 5);
    door.ask(Some(KEY), "DELETE", &format!("/sandboxes/{first}"), "").await;
    door.clock.advance(second * 5);
    door.ask(Some(KEY), "DELETE", &format!("/sandboxes/{other}"), "").await;
    door.clock.advance(second * 5);
    let start = door.clock.now().as_second() - 60;
    let answer = door.ask(Some(KEY), "GET", &format!("{path}?start={start}"), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let told: Vec<_> = answer
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            (point["concurrentSandboxes"].as_u64().unwrap(), point["sandboxStartRate"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(told, [(1, 0.2), (2, 0.2), (2, 0.0), (1, 0.0), (1, 0.0), (0, 0.0)]);
    let max = async |metric: &str| {
        door.ask(Some(KEY), "GET", &format!("{path}/max?start={start}&metric={metric}"), "").await.body
    };
    assert_eq!(max("concurrent_sandboxes").await["value"], 2.0);
    assert_eq!(max("sandbox_start_rate").await["value"], 0.2);
    assert_eq!(max("nonsense").await["code"], 400);
    assert_eq!(door.ask(Some(OTHER_KEY), "GET", &path, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        door.ask(Some(KEY), "GET", &format!("{path}?start=9&end=5"), "").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn rules_and_what_fires_can_be_asked_for() {
    let door = Door::open().await;
    insta::assert_json_snapshot!(door.ask(Some(KEY), "GET", "/alerts", "").await.body);
}
