//! What agents say, and what becomes of sandboxes, is one log.

use std::time::Duration;

use axum::response::IntoResponse as _;
use http::StatusCode;
use sandscope_engine::Readings as _;
use sandscope_model::KillReason;

use crate::world::{LIMIT, World, lines};

#[tokio::test]
async fn lines_and_the_sandbox_s_story_are_one_log_and_a_restart_goes_on_where_it_was() {
    let world = World::new().await;
    let logs = world.collect();
    world.say(lines(&[(1, "one"), (2, "\u{1b}[31mtwo")], 2));
    world.say(lines(&[(5, "five")], 5));
    let sandbox = world.sandbox().await;
    world.until("three lines", async || world.messages(&sandbox.id).await.len() == 5).await;
    let mut told = world.messages(&sandbox.id).await;
    // Who is first is decided by the scheduler.
    told.retain(|message| message != "sandbox created");
    assert_eq!(told, ["one", "two", "2 lines dropped: written faster than they are kept", "five"]);
    world.until("it is asked for more", async || world.asked().len() == 3).await;
    logs.drain(LIMIT).await;

    let logs = world.collect();
    world.say(lines(&[(6, "six")], 6));
    world.until("the next line", async || world.messages(&sandbox.id).await.len() == 6).await;
    let waits = "wait=30 token: true";
    let asked = [0, 2, 5, 5].map(|after| format!("/logs?after={after}&{waits}"));
    assert_eq!(world.asked()[..4], asked);

    world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
    let last = async || world.messages(&sandbox.id).await.pop().unwrap();
    world.until("the end is told", async || last().await.starts_with("sandbox killed: request")).await;
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn an_agent_that_talks_nonsense_is_asked_less_and_less_and_then_believed_again() {
    let world = World::new().await;
    world.say(StatusCode::NOT_FOUND.into_response());
    world.say("not json".into_response());
    world.say(lines(&[(2, "twice"), (2, "twice")], 2));
    world.say(lines(&[(3, "beyond what is promised")], 2));
    world.say("x".repeat(2 << 20).into_response());
    let logs = world.collect();
    let sandbox = world.sandbox().await;
    let before = world.clock.next_due();
    world.until("five attempts", async || world.asked().len() == 5).await;
    let waited = world.clock.next_due().zip(before).map(|(now, before)| now.duration_since(before).as_secs());
    assert!(waited.is_some_and(|seconds| seconds >= 2 + 4 + 8 + 16), "{waited:?}");
    world.say(lines(&[(1, "sense")], 1));
    world.until("sense", async || world.messages(&sandbox.id).await.contains(&"sense".to_owned())).await;
    assert_eq!(world.messages(&sandbox.id).await.len(), 2);
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn a_paused_sandbox_is_left_alone_and_followed_again_once_resumed() {
    let world = World::new().await;
    let logs = world.collect();
    let sandbox = world.sandbox().await;
    world.until("it is followed", async || world.asked().len() == 1).await;
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    let told = |message: &'static str| {
        let (world, id) = (&world, &sandbox.id);
        async move || world.messages(id).await.contains(&message.to_owned())
    };
    world.until("the pause is told", told("sandbox paused")).await;
    // To be followed must not wake it.
    assert_eq!(world.runtime.running(), []);
    world.lifecycle.resume(&world.team, &sandbox.id, Duration::from_secs(300)).await.unwrap();
    world.until("the resume is told", told("sandbox resumed")).await;
    logs.drain(LIMIT).await;
}
