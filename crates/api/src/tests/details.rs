//! A close look at one sandbox.

use std::time::Duration;

use http::StatusCode;

use super::door::{Door, KEY};

#[tokio::test]
async fn everything_is_told_and_what_the_kernel_does_not_say_is_null() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let answer = door.ask(Some(KEY), "GET", &format!("/sandboxes/{id}/metrics/extended"), "").await;
    assert_eq!(answer.status, StatusCode::OK);
    insta::assert_json_snapshot!(answer.body);
    door.ask(Some(KEY), "POST", &format!("/sandboxes/{id}/pause"), "").await;
    let paused = door.ask(Some(KEY), "GET", &format!("/sandboxes/{id}/metrics/extended"), "").await;
    assert_eq!(paused.status, StatusCode::OK, "also of a paused one");
}

#[tokio::test]
async fn processes_are_watched_for_a_second() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    door.runtime.set_load(&id.parse().unwrap(), 0.5);
    let n = door.clock.n_sleepers();
    let path = format!("/sandboxes/{id}/processes");
    let (answer, ()) = tokio::join!(door.ask(Some(KEY), "GET", &path, ""), async {
        door.clock.wait_for_sleepers(n + 1).await;
        door.clock.advance(Duration::from_secs(1));
    });
    assert_eq!(answer.status, StatusCode::OK);
    insta::assert_json_snapshot!(answer.body);
}
