//! Logs, at both endpoints.

use std::time::Duration;

use http::StatusCode;
use sandscope_model::{Clock as _, EventType, LogEntry, LogLevel, LogSource};
use sandscope_store::LogBatch;

use super::door::{Door, KEY, OTHER_KEY};

/// A sandbox with a log: one entry per quarter of a second, `n` of them.
async fn with_log(door: &Door, n: u32) -> String {
    // It must not time out while the clock is moved.
    let id = door.sandbox(r#"{"templateID":"base","timeout":7200}"#).await;
    let start = door.clock.now();
    let entry = |index: u32| {
        let level = LogLevel::ALL[index as usize % 4];
        let (source, event_type) = match index % 5 {
            0 => (LogSource::Server, Some(EventType::Created)),
            1 => (LogSource::Stdout, None),
            2 => (LogSource::Stderr, None),
            3 => (LogSource::Terminal, None),
            _ => (LogSource::Exit, None),
        };
        let pid = (source != LogSource::Server).then_some(index);
        let at = start + Duration::from_millis(250) * index;
        LogEntry { at, level, source, pid, event_type, message: format!("Line \"{index}\"") }
    };
    door.clock.advance(Duration::from_secs(3600));
    let entries = (0..n).map(entry).collect();
    let batch = LogBatch { sandbox_id: id.parse().unwrap(), entries, taken_upto: None };
    door.store.logs.append_logs(batch).await.unwrap();
    id
}

#[tokio::test]
async fn both_answers_say_the_same() {
    let mut door = Door::open().await;
    let id = with_log(&door, 6).await;
    door.say("GET", &format!("/sandboxes/{id}/logs"), "").await;
    door.say("GET", &format!("/v2/sandboxes/{id}/logs"), "").await;
    insta::assert_snapshot!(door.take_log());
}

#[tokio::test]
async fn a_client_that_goes_on_behind_the_last_millisecond_misses_nothing() {
    let door = Door::open().await;
    let id = with_log(&door, 30).await;
    let ask = async |version: &str, query: &str| {
        let answer = door.ask(Some(KEY), "GET", &format!("{version}/sandboxes/{id}/logs?{query}"), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let logs = answer.body["logs"].as_array().unwrap().clone();
        let at = |log: &serde_json::Value| {
            log["timestamp"].as_str().unwrap().parse::<sandscope_model::Timestamp>().unwrap().as_millisecond()
        };
        logs.iter().map(at).collect::<Vec<_>>()
    };
    let all = ask("", "").await;
    assert_eq!(all.len(), 30);
    let (mut old, mut new, mut back) = (Vec::new(), Vec::new(), Vec::new());
    let (mut start, mut cursor, mut end) = (0, 0, i64::MAX);
    for _ in 0..6 {
        old.extend(ask("", &format!("start={start}&limit=7")).await);
        start = old.last().unwrap() + 1;
        new.extend(ask("/v2", &format!("cursor={cursor}&limit=7&direction=forward")).await);
        cursor = new.last().unwrap() + 1;
        back.extend(ask("/v2", &format!("cursor={end}&limit=7")).await);
        end = *back.last().unwrap();
    }
    assert_eq!((&old, &new), (&all, &all));
    back.reverse();
    assert_eq!(back, all);
    assert_eq!(ask("", "limit=0").await.len() + ask("/v2", "limit=0").await.len(), 0);
    assert_eq!(ask("", "limit=2147483647").await.len(), 30);
}

#[tokio::test]
async fn entries_are_chosen_by_level_and_text() {
    let door = Door::open().await;
    let id = with_log(&door, 12).await;
    let count = async |query: &str| {
        let answer = door.ask(Some(KEY), "GET", &format!("/v2/sandboxes/{id}/logs?{query}"), "").await;
        answer.body["logs"].as_array().unwrap().len()
    };
    assert_eq!(count("level=debug").await, 12);
    assert_eq!(count("level=warn").await, 6);
    assert_eq!(count("level=error").await, 3);
    assert_eq!(count("search=lINE%20%221%22").await, 1);
    assert_eq!(count("search=").await, 12);
    assert_eq!(count("search=%25").await, 0);
    assert_eq!(count(&format!("search={}", "%C3%BC".repeat(256))).await, 0);
}

#[tokio::test]
async fn a_log_outlives_its_sandbox_for_seven_days_and_stays_its_team_s() {
    let door = Door::open().await;
    let id = with_log(&door, 4).await;
    let path = format!("/sandboxes/{id}");
    assert_eq!(door.ask(Some(KEY), "DELETE", &path, "").await.status, StatusCode::NO_CONTENT);
    for version in ["", "/v2"] {
        let logs = format!("{version}{path}/logs");
        let answer = door.ask(Some(KEY), "GET", &logs, "").await;
        assert_eq!(answer.body["logs"].as_array().unwrap().len(), 4);
        assert_eq!(door.ask(Some(OTHER_KEY), "GET", &logs, "").await.status, StatusCode::NOT_FOUND);
        let unknown = format!("{version}/sandboxes/i00000000000000000000/logs");
        assert_eq!(door.ask(Some(KEY), "GET", &unknown, "").await.status, StatusCode::NOT_FOUND);
    }
    door.clock.advance(Duration::from_secs(7 * 24 * 3600));
    let answer = door.ask(Some(KEY), "GET", &format!("{path}/logs?start=0"), "").await;
    assert_eq!((answer.status, answer.body["logs"].as_array().map(Vec::len)), (StatusCode::OK, Some(0)));
}
