//! A store that refuses, and tasks that panic: what is missing is made up for.

use std::sync::Arc;
use std::time::Duration;

use sandscope_model::KillReason;
use sandscope_tasks::TaskState;
use sandscope_testbed::{FactsCall, Loss, PoisonClock};

use crate::world::{LIMIT, World, lines, until_still};

#[tokio::test]
async fn a_collector_that_fails_is_seen_and_starts_over() {
    let world = World::new().await;
    // What the collector sleeps for between two looks.
    let clock = PoisonClock::new(world.clock.clone(), Duration::from_millis(250));
    let logs = world.collect_by(Arc::new(clock.clone()));
    clock.poison(1);
    world.until("it has failed", async || logs.in_trouble() == ["log-collector"]).await;
    world.say(lines(&[(1, "found all the same")], 1));
    let sandbox = world.sandbox().await;
    let found = "found all the same".to_owned();
    world.until("it is followed", async || world.messages(&sandbox.id).await.contains(&found)).await;
    assert!(logs.in_trouble().is_empty());
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn a_story_that_fails_is_seen_and_told_on_from_where_it_was() {
    let world = World::new().await;
    let logs = world.collect();
    let sandbox = world.sandbox().await;
    let told = async |last: &str| world.messages(&sandbox.id).await.last().is_some_and(|told| told == last);
    until_still("it is told", async || told("sandbox created").await).await;
    world.facts.lose(FactsCall::AppendLogs, Loss::Panic);
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    until_still("it has failed", async || logs.in_trouble() == ["log-story"]).await;
    let failed = logs.statuses().into_iter().find(|status| status.name == "log-story").unwrap();
    assert_eq!(failed.state, TaskState::Waiting);
    assert_eq!(failed.last_exit.unwrap().failure.as_deref(), Some("panicked: planned, after AppendLogs"));
    // This is told by the next life.
    world.lifecycle.resume(&world.team, &sandbox.id, Duration::from_secs(300)).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    until_still("what came meanwhile is told", async || told("sandbox resumed").await).await;
    let again = logs.statuses().into_iter().find(|status| status.name == "log-story").unwrap();
    assert_eq!((again.state, again.n_restarts), (TaskState::Running, 1));
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    until_still("what comes later is told", async || told("sandbox paused").await).await;
    // The line after which it failed was written, and is there twice.
    let all = ["created", "paused", "paused", "resumed", "paused"].map(|what| format!("sandbox {what}"));
    assert_eq!(world.messages(&sandbox.id).await, all);
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn a_line_that_the_store_refuses_is_tried_again_and_none_is_skipped() {
    for loss in [Loss::Question, Loss::Panic] {
        let world = World::new().await;
        let logs = world.collect();
        let sandbox = world.sandbox().await;
        let created = "sandbox created".to_owned();
        world.until("it is told", async || world.messages(&sandbox.id).await == [created.clone()]).await;
        world.facts.lose(FactsCall::AppendLogs, loss);
        world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
        world.lifecycle.resume(&world.team, &sandbox.id, Duration::from_secs(300)).await.unwrap();
        world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
        let last = async || world.messages(&sandbox.id).await.pop().unwrap();
        world.until("the end is told", async || last().await.starts_with("sandbox killed: request")).await;
        let mut told = world.messages(&sandbox.id).await;
        told.pop();
        // What was carried out before whoever asked for it panicked is there twice.
        told.dedup();
        assert_eq!(told, ["sandbox created", "sandbox paused", "sandbox resumed"], "{loss:?}");
        assert_eq!(world.facts.n_left(), 0);
        logs.drain(LIMIT).await;
    }
}

#[tokio::test]
async fn a_store_that_refuses_lines_does_not_keep_the_server_from_ending() {
    let world = World::new().await;
    let logs = world.collect();
    let sandbox = world.sandbox().await;
    let created = "sandbox created".to_owned();
    world.until("it is told", async || world.messages(&sandbox.id).await == [created.clone()]).await;
    for _ in 0..100 {
        world.facts.lose(FactsCall::AppendLogs, Loss::Question);
    }
    world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
    world.until("it was tried", async || world.facts.n_left() < 100).await;
    logs.drain(LIMIT).await;
    assert!(world.facts.n_left() > 0);
}
