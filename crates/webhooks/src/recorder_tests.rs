use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use sandscope_model::{AttemptOutcome, Clock as _, EventType, Webhook};
use sandscope_tasks::TaskState;
use sandscope_testbed::wait_poisoned;

use super::*;
use crate::receiver::BOUND;
use crate::world::{World, eventually, id};

fn attempt(world: &World, webhook: &Webhook) -> Attempt {
    Attempt {
        id: id(),
        team_id: world.team.id,
        webhook_id: webhook.id,
        event_id: id(),
        sequence: 1,
        sandbox_id: None,
        event_type: EventType::Updated,
        started_at: world.clock.now(),
        duration_ms: 20,
        outcome: AttemptOutcome::Success,
        request_url: webhook.url.clone(),
        request_headers: "{}".to_owned(),
        request_body: "{}".to_owned(),
        response_status: Some(200),
        response_headers: Some("{}".to_owned()),
        response_body: Some(String::new()),
    }
}

#[tokio::test]
async fn a_writer_that_fails_is_seen_and_everything_handed_in_is_written() {
    let world = World::new().await;
    let webhook = world.webhook("http://127.0.0.1:9").await;
    let tasks = sandscope_testbed::tasks(Arc::new(world.clock.clone()));
    let stop = CancellationToken::new();
    let (recorder, mut writer) = Recorder::start(world.store.attempts.clone(), &tasks, stop.clone());
    let mut owed = BTreeSet::new();
    let mut next = || {
        let attempt = attempt(&world, &webhook);
        owed.insert(attempt.id);
        attempt
    };
    // The writer has not had its turn: there is room for so many.
    for _ in 0..CAPACITY {
        recorder.attempts.try_send(next()).unwrap();
    }
    // One more waits for room. Word that there is some is what the writer breaks by, with a batch in its hands.
    let (waiting, attempt) = (recorder.clone(), next());
    let mut one_more = pin!(async move { waiting.record(attempt).await });
    assert!(wait_poisoned(one_more.as_mut()).is_pending());
    eventually("it has failed", || async { tasks.in_trouble() == ["attempt-recorder"] }).await;
    let status = tasks.statuses().remove(0);
    assert_eq!(status.state, TaskState::Waiting);
    assert_eq!(status.last_exit.unwrap().failure.as_deref(), Some("panicked: planned, at a waking"));
    one_more.await;
    world.clock.advance(Duration::from_secs(1));
    eventually("it runs again", || async { tasks.in_trouble().is_empty() }).await;
    recorder.record(next()).await;
    stop.cancel();
    drop(recorder);
    tokio::time::timeout(BOUND, writer.ended()).await.unwrap();
    let status = tasks.statuses().remove(0);
    assert_eq!((status.state, status.n_restarts), (TaskState::Ended, 1));
    let written: BTreeSet<_> = world.attempts(&webhook).await.iter().map(|attempt| attempt.id).collect();
    assert_eq!((written.len(), owed.len()), (CAPACITY + 2, CAPACITY + 2));
    assert!(written == owed);
}
