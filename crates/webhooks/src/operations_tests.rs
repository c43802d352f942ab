//! What happens when receivers misbehave for long, and what is done about it on request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sandscope_model::{
    Clock, EventFilter, EventType, EventTypes, Replay, ReplayState, RetiredSecret, Retry, Secret, Selection,
    Webhook,
};
use sandscope_store::EventQuery;

use crate::receiver::{Answer, BOUND, Receiver};
use crate::signature;
use crate::world::{World, eventually, id, ids, ok};

/// A receiver that answers with `bad` until it is mended.
async fn mendable(bad: Answer) -> (Receiver, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&mended);
    let answer = move |_: &_| if seen.load(Ordering::SeqCst) { Answer::Status(200) } else { bad.clone() };
    (Receiver::start(answer).await, mended)
}

/// The operational events of the team, oldest first.
async fn told(world: &World) -> Vec<EventType> {
    let types = EventType::ALL.into_iter().filter(|event_type| event_type.is_operational());
    let filter = EventFilter { types: types.collect(), ..EventFilter::default() };
    let query =
        EventQuery { filter, limit: 100, order: sandscope_store::Order::Asc, ..EventQuery::default() };
    let events = world.store.events.events(world.team.id, query).await.unwrap();
    events.iter().map(|event| event.event_type()).collect()
}

async fn change(world: &World, webhook: &mut Webhook, change: impl FnOnce(&mut Webhook)) {
    change(webhook);
    assert!(world.store.deliveries.update_webhook(webhook.clone()).await.unwrap());
}

/// Lets time pass in steps while waiting.
async fn eventually_in_time<F: Future<Output = bool>>(
    world: &World,
    what: &str,
    step: Duration,
    condition: impl Fn() -> F,
) {
    eventually(what, || async {
        let holds = condition().await;
        if !holds {
            world.clock.advance(step);
        }
        holds
    })
    .await;
}

fn replay(webhook: &Webhook, selection: Selection, first: u64, last: u64) -> Replay {
    Replay {
        id: id(),
        webhook_id: webhook.id,
        selection,
        first,
        last,
        next: first,
        rate_per_second: None,
        state: ReplayState::Running,
        n_selected: 0,
        n_delivered: 0,
        n_failed: 0,
        n_dropped: 0,
        created_at: sandscope_model::Timestamp::UNIX_EPOCH,
        finished_at: None,
    }
}

async fn state(world: &World, replay: &Replay) -> Replay {
    world.store.deliveries.replay(replay.webhook_id, replay.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_outage_costs_few_attempts_and_ends_with_a_probe() {
    let world = World::new().await;
    let (receiver, mended) = mendable(Answer::Status(503)).await;
    let mut webhook = world.webhook(&receiver.url()).await;
    change(&world, &mut webhook, |hook| hook.options.retry = Retry::Standard).await;
    let webhooks = world.start();
    let owed: BTreeSet<_> = world.happen(100).await.into_iter().collect();
    receiver.wait_for(8).await;
    // Half an hour of outage: a few probes.
    for _ in 0..180 {
        world.clock.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    let n_tried = receiver.received().len();
    assert!(n_tried < 40, "{n_tried} attempts at a receiver that is down");
    mended.store(true, Ordering::SeqCst);
    eventually_in_time(&world, "everything arrives", Duration::from_secs(30), || async {
        world.cursor(&webhook).await >= 100 && world.exceptions(&webhook).await.is_empty()
    })
    .await;
    assert_eq!(ids(&receiver), owed);
    webhooks.drain(BOUND).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_disabled_and_that_is_told_to_others() {
    let world = World::new().await;
    let gone = Receiver::start(|_| Answer::Status(410)).await;
    let told_to = ok().await;
    let mut webhook = world.webhook(&gone.url()).await;
    change(&world, &mut webhook, |hook| hook.events.extend(EventType::ALL)).await;
    let mut others = world.webhook(&told_to.url()).await;
    change(&world, &mut others, |hook| hook.events = EventTypes::from([EventType::WebhookDisabled])).await;
    let webhooks = world.start();
    let event = world.happens(0, EventType::Created).await;
    let received = told_to.wait_for(1).await;
    let body = received[0].json();
    assert_eq!(body["type"], "webhook.disabled");
    assert_eq!(body["eventData"]["webhook"]["id"], webhook.id.to_string());
    assert_eq!(body["eventData"]["webhook"]["event_id"], event.id.to_string());
    eventually("it is disabled", || async {
        !world.store.deliveries.webhook(world.team.id, webhook.id).await.unwrap().unwrap().enabled
    })
    .await;
    let standing = world.store.deliveries.webhook_standing(webhook.id).await.unwrap().unwrap();
    assert_eq!(
        standing.health.disabled_reason.as_deref(),
        Some("the receiver answered 410: it wants no more")
    );
    assert_eq!(standing.n_exhausted, 1);
    world.happens(1, EventType::Created).await;
    webhooks.drain(BOUND).await;
    assert_eq!(gone.received().len(), 1);
}

#[tokio::test]
async fn failing_for_long_disables_also_across_restarts() {
    let world = World::new().await;
    let receiver = Receiver::start(|_| Answer::Status(404)).await;
    let mut webhook = world.webhook(&receiver.url()).await;
    let hour = Duration::from_secs(3_600);
    change(&world, &mut webhook, |hook| hook.options.disable_after_s = Some(7_200)).await;
    for _ in 0..2 {
        let webhooks = world.start();
        for n in 0..6 {
            world.happens(n, EventType::Created).await;
        }
        eventually("they failed", || async {
            world.store.deliveries.webhook_health(webhook.id).await.unwrap().unwrap().n_failed >= 6
        })
        .await;
        assert!(world.store.deliveries.webhook(world.team.id, webhook.id).await.unwrap().unwrap().enabled);
        webhooks.drain(BOUND).await;
        world.clock.advance(hour);
    }
    let webhooks = world.start();
    eventually_in_time(&world, "it is disabled", Duration::from_secs(10), || async {
        !world.store.deliveries.webhook(world.team.id, webhook.id).await.unwrap().unwrap().enabled
    })
    .await;
    assert!(told(&world).await.contains(&EventType::WebhookDisabled));
    webhooks.drain(BOUND).await;
}

#[tokio::test]
async fn what_ran_out_of_attempts_is_a_dead_letter_until_a_replay_delivers_it() {
    let world = World::new().await;
    let (receiver, mended) = mendable(Answer::Status(400)).await;
    let mut webhook = world.webhook(&receiver.url()).await;
    change(&world, &mut webhook, |hook| hook.options.retry = Retry::Custom(Vec::new())).await;
    // Before anything is published about the webhook itself, which takes a number too.
    let owed = world.happen(40).await;
    let webhooks = world.start();
    eventually("all are exhausted", || async {
        world.store.deliveries.dead_letters(world.team.id, webhook.id, 0, 100).await.unwrap().len() == 40
    })
    .await;
    assert_eq!(told(&world).await, [EventType::WebhookExhausted], "told once, however many");
    let page = world.store.deliveries.dead_letters(world.team.id, webhook.id, 10, 5).await.unwrap();
    assert_eq!(page.iter().map(|letter| letter.event.sequence).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
    assert_eq!(page[0].n_attempts, 1);
    mended.store(true, Ordering::SeqCst);
    let before = receiver.received().len();
    let job = replay(&webhook, Selection::Failed, 1, 41);
    assert!(world.store.deliveries.insert_replay(job.clone(), 1).await.unwrap());
    eventually("the replay is done", || async { state(&world, &job).await.state == ReplayState::Done }).await;
    let done = state(&world, &job).await;
    assert_eq!((done.n_selected, done.n_delivered, done.n_failed, done.n_dropped), (40, 40, 0, 0));
    let mut again: Vec<_> = receiver.received()[before..].iter().map(|one| one.event_id()).collect();
    assert_eq!(again.len(), 40, "each once");
    again.sort();
    let mut owed = owed;
    owed.sort();
    assert_eq!(again, owed);
    assert!(world.store.deliveries.dead_letters(world.team.id, webhook.id, 0, 100).await.unwrap().is_empty());
    eventually("it is well again", || async { told(&world).await.contains(&EventType::WebhookRecovered) })
        .await;
    // Nothing is left to select.
    let nothing = replay(&webhook, Selection::Failed, 1, 40);
    assert!(world.store.deliveries.insert_replay(nothing.clone(), 1).await.unwrap());
    eventually("done", || async { state(&world, &nothing).await.state == ReplayState::Done }).await;
    assert_eq!(state(&world, &nothing).await.n_selected, 0);
    webhooks.drain(BOUND).await;
}

#[tokio::test]
async fn a_replay_of_everything_skips_and_repeats_nothing_across_restarts() {
    const N: usize = 1_500;
    let world = World::new().await;
    let receiver = ok().await;
    let webhook = world.webhook(&receiver.url()).await;
    let owed: BTreeSet<_> = world.happen(N).await.into_iter().collect();
    let webhooks = world.start();
    receiver.wait_for(N).await;
    webhooks.drain(BOUND).await;
    let job = replay(&webhook, Selection::All, 1, N as u64);
    assert!(world.store.deliveries.insert_replay(job.clone(), 1).await.unwrap());
    for part in 1..=4 {
        let webhooks = world.start();
        receiver.wait_for(N + N * part / 5).await;
        webhooks.drain(BOUND).await;
    }
    let webhooks = world.start();
    let live = world.happens(0, EventType::Updated).await;
    eventually("done", || async { state(&world, &job).await.state == ReplayState::Done }).await;
    eventually("the live one arrives too", || async { ids(&receiver).contains(&live.id.to_string()) }).await;
    webhooks.drain(BOUND).await;
    let done = state(&world, &job).await;
    assert_eq!((done.n_selected, done.n_delivered), (N as u64, N as u64));
    let received = receiver.received();
    assert_eq!(received.len(), 2 * N + 1, "nothing twice");
    let again: BTreeSet<_> = received[N..].iter().map(|one| one.event_id()).collect();
    assert!(again.is_superset(&owed));
}

#[tokio::test]
async fn a_canceled_replay_sends_nothing_more_and_what_was_lost_stays_to_be_found() {
    let world = World::new().await;
    let receiver = ok().await;
    let mut webhook = world.webhook(&receiver.url()).await;
    change(&world, &mut webhook, |hook| hook.enabled = false).await;
    world.happen(300).await;
    change(&world, &mut webhook, |hook| hook.enabled = true).await;
    let webhooks = world.start();
    let job = Replay { rate_per_second: Some(10), ..replay(&webhook, Selection::Failed, 1, 300) };
    assert!(world.store.deliveries.insert_replay(job.clone(), 1).await.unwrap());
    // The clock stands still: there will be no more than the first of them.
    receiver.wait_for(1).await;
    assert!(world.store.deliveries.cancel_replay(webhook.id, job.id, world.clock.now()).await.unwrap());
    // An attempt whose answer was not read yet would run into its timeout as the clock moves.
    eventually("what was in flight is recorded", || async {
        state(&world, &job).await.n_delivered == receiver.received().len() as u64
    })
    .await;
    world.clock.advance(Duration::from_secs(60));
    let live = world.happens(0, EventType::Updated).await;
    eventually("life goes on", || async { ids(&receiver).contains(&live.id.to_string()) }).await;
    webhooks.drain(BOUND).await;
    let n_replayed = receiver.received().len() as u64 - 1;
    assert!(n_replayed < 20, "{n_replayed}");
    let ended = state(&world, &job).await;
    assert_eq!((ended.state, ended.n_delivered), (ReplayState::Canceled, n_replayed));
    let standing = world.store.deliveries.webhook_standing(webhook.id).await.unwrap().unwrap();
    assert_eq!(standing.n_skipped + standing.n_exhausted, 300 - n_replayed);
}

#[tokio::test]
async fn a_receiver_that_asks_to_wait_is_left_alone() {
    let world = World::new().await;
    let n = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&n);
    let receiver = Receiver::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Raw(b"HTTP/1.1 429 Slow\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n".to_vec()),
        _ => Answer::Status(200),
    })
    .await;
    let webhook = world.webhook(&receiver.url()).await;
    let webhooks = world.start();
    world.happens(0, EventType::Created).await;
    eventually("the failure is stored", || async { world.exceptions(&webhook).await.len() == 1 }).await;
    world.happens(1, EventType::Created).await;
    world.clock.advance(Duration::from_secs(119));
    let [owed] = world.exceptions(&webhook).await.try_into().unwrap();
    assert_eq!(owed.next_due_at.unwrap().as_second(), 120 + world.clock.now().as_second() - 119);
    assert_eq!(receiver.received().len(), 1);
    world.clock.advance(Duration::from_secs(1));
    receiver.wait_for(3).await;
    webhooks.drain(BOUND).await;
}

#[tokio::test]
async fn a_webhook_s_pace_is_kept() {
    let world = World::new().await;
    let receiver = ok().await;
    let mut webhook = world.webhook(&receiver.url()).await;
    change(&world, &mut webhook, |hook| hook.options.rate_per_second = Some(5)).await;
    let webhooks = world.start();
    world.happen(40).await;
    // A second's worth at once, then as time goes on.
    for n in 1..=6 {
        receiver.wait_for(n * 5).await;
        let n_received = receiver.received().len();
        assert!(n_received <= n * 5 + 1, "{n_received} in second {n}");
        world.clock.advance(Duration::from_secs(1));
    }
    webhooks.drain(BOUND).await;
}

#[tokio::test]
async fn a_test_goes_the_way_of_real_events_and_says_that_it_is_one() {
    let world = World::new().await;
    let receiver = ok().await;
    let mut webhook = world.webhook(&receiver.url()).await;
    change(&world, &mut webhook, |hook| hook.enabled = false).await;
    let webhooks = world.start();
    let attempt = webhooks.tester().test(&webhook).await.unwrap();
    assert_eq!(attempt.response_status, Some(200));
    let received = &receiver.received()[0];
    assert_eq!(received.json()["test"], true);
    assert_eq!(
        received.header("e2b-signature"),
        Some(&*signature::v1(&webhook.signature_secret, &received.body))
    );
    webhooks.drain(BOUND).await;
    let [recorded] = world.attempts(&webhook).await.try_into().unwrap();
    assert_eq!((recorded.id, recorded.sequence), (attempt.id, 0));
    assert!(!recorded.request_headers.contains(&signature::v1(&webhook.signature_secret, &received.body)));
}

#[tokio::test]
async fn while_a_secret_changes_both_sign_and_custom_headers_are_sent_but_not_kept() {
    let world = World::new().await;
    let receiver = ok().await;
    let mut webhook = world.webhook(&receiver.url()).await;
    let old = Secret::new("the old one".to_owned());
    change(&world, &mut webhook, |hook| {
        let until = world.clock.now().checked_add(Duration::from_secs(60)).unwrap();
        hook.previous_secret = Some(RetiredSecret { secret: old.clone(), until });
        hook.headers = [("x-token".to_owned(), Secret::new("hidden".to_owned()))].into();
    })
    .await;
    let webhooks = world.start();
    world.happens(0, EventType::Created).await;
    let received = receiver.wait_for(1).await.remove(0);
    world.clock.advance(Duration::from_secs(61));
    world.happens(1, EventType::Created).await;
    let later = receiver.wait_for(2).await.remove(1);
    webhooks.drain(BOUND).await;
    let event_id = received.event_id().parse().unwrap();
    let at = received.header("webhook-timestamp").unwrap().parse().unwrap();
    let at = sandscope_model::Timestamp::from_second(at).unwrap();
    let sign = |secret| signature::standard(secret, event_id, at, &received.body);
    let both = format!("{} {}", sign(&webhook.signature_secret), sign(&old));
    assert_eq!(received.header("webhook-signature"), Some(&*both));
    assert_eq!(received.header("webhook-id"), Some(&*received.event_id()));
    assert_eq!(received.header("e2b-signature-previous"), Some(&*signature::v1(&old, &received.body)));
    assert_eq!(received.header("x-token"), Some("hidden"));
    assert_eq!(later.header("e2b-signature-previous"), None);
    assert!(!later.header("webhook-signature").unwrap().contains(' '));
    for attempt in world.attempts(&webhook).await {
        assert!(!attempt.request_headers.contains("hidden"), "{}", attempt.request_headers);
        assert!(!attempt.request_headers.contains("v1,"), "{}", attempt.request_headers);
    }
}
