//! The history by cursor, by filter, and while one waits.

use std::time::Duration;

use http::StatusCode;
use sandscope_model::TeamLimits;

use super::door::{Answer, Door, KEY};

fn sequences(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body.as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

fn cursor(answer: &Answer) -> Option<String> {
    answer.headers.get("x-next-cursor").map(|value| value.to_str().unwrap().to_owned())
}

async fn get(door: &Door, path: &str) -> Answer {
    door.ask(Some(KEY), "GET", path, "").await
}

async fn extend(door: &Door, id: &str) {
    let path = format!("/sandboxes/{id}/timeout");
    assert!(door.ask(Some(KEY), "POST", &path, r#"{"timeout":600}"#).await.status.is_success());
}

#[tokio::test]
async fn pages_by_cursor_neither_skip_nor_repeat_while_others_write() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    for _ in 0..8 {
        extend(&door, &id).await;
    }
    let sandbox = format!("/events/sandboxes/{id}");
    for path in ["/events/sandboxes", sandbox.as_str()] {
        let n = door.store.events.last_sequence(door.team).await.unwrap();
        for ascending in [true, false] {
            let (mut seen, mut at) = (Vec::new(), None);
            loop {
                let next = at.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
                let page = get(&door, &format!("{path}?limit=2&orderAsc={ascending}{next}")).await;
                seen.extend(sequences(&page));
                at = cursor(&page);
                extend(&door, &id).await;
                let is_more = page.headers["x-has-more"] == "true";
                assert!(ascending || is_more == at.is_some());
                if !is_more || (ascending && seen.len() as u64 >= n) {
                    break;
                }
            }
            let expected: Vec<u64> =
                if ascending { (1..=n).collect() } else { (1..=seen[0]).rev().collect() };
            seen.truncate(expected.len());
            assert_eq!(seen, expected, "{path} {ascending}");
        }
    }
}

#[tokio::test]
async fn filters_can_be_combined() {
    let door = Door::with_limits(TeamLimits::default()).await;
    let labelled = door.sandbox(r#"{"templateID":"base","metadata":{"user":"a b","app":"100%"}}"#).await;
    door.clock.advance(Duration::from_secs(10));
    let plain = door.sandbox(r#"{"templateID":"code-interpreter-v1"}"#).await;
    let paused = format!("/sandboxes/{plain}/pause");
    assert!(door.ask(Some(KEY), "POST", &paused, "").await.status.is_success());
    door.clock.advance(Duration::from_secs(10));
    assert!(door.ask(Some(KEY), "DELETE", &format!("/sandboxes/{labelled}"), "").await.status.is_success());
    let start = sandscope_model::Clock::now(&door.clock).as_second();
    let of =
        async |query: &str| sequences(&get(&door, &format!("/events/sandboxes?orderAsc=true&{query}")).await);
    assert_eq!(of("").await, [1, 2, 3, 4]);
    assert_eq!(of(&format!("sandboxID={labelled}")).await, [1, 4]);
    assert_eq!(of("reason=request,timeout").await, [4]);
    assert_eq!(of("reason=timeout").await, [0_u64; 0]);
    assert_eq!(of("template=base").await, [1, 4]);
    assert_eq!(of("template=code-interpreter-v1&types=sandbox.lifecycle.paused").await, [3]);
    assert_eq!(of("template=t0000000000000000000").await, [0_u64; 0]);
    for metadata in ["user%3Da%252520b", "user%3Da+b", "app%3D100%25", "user%3Da+b%26app%3D100%252525"] {
        assert_eq!(of(&format!("metadata={metadata}")).await, [1, 4], "{metadata}");
    }
    assert_eq!(of("metadata=user%3Dc").await, [0_u64; 0]);
    assert_eq!(of(&format!("start={}&end={start}", start - 10)).await, [2, 3]);
    assert_eq!(of(&format!("start={start}&template=base&metadata=user%3Da+b")).await, [4]);
    let time = sandscope_model::Timestamp::from_second(start).unwrap();
    assert_eq!(of(&format!("start={time}")).await, [4]);
}

#[tokio::test]
async fn a_request_that_waits_is_answered_when_something_happens_or_its_time_is_up() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let newest = get(&door, "/events/sandboxes?orderAsc=true&cursor=latest").await;
    assert_eq!(sequences(&newest), [0_u64; 0]);
    let at = cursor(&newest).unwrap();
    let path = format!("/events/sandboxes?orderAsc=true&cursor={at}&wait=1");
    let second = Duration::from_secs(1);
    let (nothing, ()) = tokio::join!(get(&door, &path), async {
        door.wait_for_a_sleep_within(second).await;
        door.clock.advance(second);
    });
    assert_eq!((sequences(&nothing), cursor(&nothing)), (vec![], Some(at.clone())));

    let path = format!("/events/sandboxes?orderAsc=true&cursor={at}&wait=60&types=sandbox.lifecycle.paused");
    let (waited, ()) = tokio::join!(get(&door, &path), async {
        extend(&door, &id).await;
        let pause = format!("/sandboxes/{id}/pause");
        assert!(door.ask(Some(KEY), "POST", &pause, "").await.status.is_success());
    });
    assert_eq!(sequences(&waited), [3]);

    let path = format!("/events/sandboxes/{id}?orderAsc=true&cursor={}&wait=60", cursor(&waited).unwrap());
    let (drained, _) = tokio::join!(get(&door, &path), async {
        tokio::task::yield_now().await;
        door.health.send(crate::Health::Draining)
    });
    assert_eq!(sequences(&drained), [0_u64; 0]);
}
