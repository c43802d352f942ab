//! Deliveries over a real store, to real receivers on the loopback, with time stepped by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandscope_model::{AttemptOutcome, Clock, ErrorClass, EventType, EventTypes};
use sandscope_store::Store;
use sandscope_store::fault::Fault;
use sandscope_testbed::{PoisonClock, SeededEntropy};

use crate::receiver::{Answer, BOUND, Receiver};
use crate::world::{World, eventually, ids, ok};
use crate::{Defaults, RetryPolicy, Webhooks, WebhooksOptions};

const TEN_SECONDS: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_wanted_event_arrives_once_and_per_sandbox_in_order() {
    let world = World::new().await;
    let receiver = ok().await;
    world.happens(0, EventType::Created).await;
    let mut webhook = world.webhook(&receiver.url()).await;
    webhook.events = EventTypes::from([EventType::Updated, EventType::Killed]);
    assert!(world.store.deliveries.update_webhook(webhook.clone()).await.unwrap());
    let webhooks = world.start();
    let mut owed = BTreeMap::<String, Vec<String>>::new();
    for n in 0..201 {
        let event_type = [EventType::Updated, EventType::Paused, EventType::Killed][n % 3];
        let event = world.happens(n, event_type).await;
        if event_type != EventType::Paused {
            owed.entry(event.sandbox_id().unwrap().to_string()).or_default().push(event.id.to_string());
        }
    }
    let n_owed = owed.values().map(Vec::len).sum();
    let mut arrived = BTreeMap::<String, Vec<String>>::new();
    for received in receiver.wait_for(n_owed).await {
        let sandbox_id = received.json()["sandboxId"].as_str().unwrap().to_owned();
        arrived.entry(sandbox_id).or_default().push(received.event_id());
    }
    assert_eq!(arrived, owed);
    webhooks.drain(BOUND).await;
    assert_eq!(world.cursor(&webhook).await, 202);
    assert_eq!(world.exceptions(&webhook).await, []);
    let attempts = world.attempts(&webhook).await;
    assert_eq!(attempts.len(), n_owed);
    assert!(attempts.iter().all(|attempt| attempt.outcome == AttemptOutcome::Success));
}

#[tokio::test]
async fn a_failed_delivery_is_tried_three_more_times_ten_seconds_apart() {
    let world = World::new().await;
    let receiver = Receiver::start(|_| Answer::Status(500)).await;
    let webhook = world.webhook(&receiver.url()).await;
    let webhooks = world.start();
    let event = world.happens(0, EventType::Created).await;
    for n in 1..=4 {
        receiver.wait_for(n).await;
        let due_at = (n < 4).then(|| world.clock.now().checked_add(TEN_SECONDS).unwrap());
        // An exhausted delivery is no longer among those that await something.
        let awaited: Vec<_> = due_at.into_iter().map(|at| (event.sequence, n, Some(at))).collect();
        eventually("the failure is stored", || async {
            let rows = world.exceptions(&webhook).await.into_iter();
            // The notice that the webhook fails follows, and goes to nobody.
            world.cursor(&webhook).await >= event.sequence
                && rows
                    .map(|row| (row.sequence, row.n_attempts as usize, row.next_due_at))
                    .eq(awaited.clone())
        })
        .await;
        world.clock.advance(TEN_SECONDS);
    }
    world.clock.advance(Duration::from_secs(3_600));
    // Another event goes all the way, and nothing else was sent meanwhile.
    world.happens(0, EventType::Killed).await;
    let received = receiver.wait_for(5).await;
    let last = received.last().unwrap();
    assert_eq!(last.json()["type"], "sandbox.lifecycle.killed");
    webhooks.drain(BOUND).await;
    let attempts = world.attempts(&webhook).await;
    assert_eq!(attempts.len(), 5);
    let delivery_ids: BTreeSet<_> = attempts.iter().map(|attempt| attempt.id).collect();
    assert_eq!(delivery_ids.len(), 5);
    assert!(attempts[..4].iter().all(|attempt| attempt.event_id == event.id));
}

#[tokio::test]
async fn a_black_hole_with_a_thousand_owed_events_delays_nobody() {
    let world = World::new().await;
    let black_hole = Receiver::start(|_| Answer::Hang).await;
    let healthy = ok().await;
    let dead = world.webhook(&black_hole.url()).await;
    world.happen(1_000).await;
    // Not even one connection to share; the clock does not move, so the black hole's attempts never end.
    let webhooks = Webhooks::start(WebhooksOptions { max_connections: 0, ..world.options() });
    black_hole.wait_for(1).await;
    world.webhook(&healthy.url()).await;
    let owed = world.happen(200).await;
    healthy.wait_for(200).await;
    assert_eq!(ids(&healthy), owed.into_iter().collect());
    assert_eq!(black_hole.received().len(), 1);
    // With connections to share, the window is what bounds it.
    webhooks.drain(Duration::ZERO).await;
    let webhooks = world.start();
    black_hole.wait_for(9).await;
    world.happen(100).await;
    healthy.wait_for(300).await;
    assert_eq!(black_hole.received().len(), 9);
    webhooks.drain(Duration::ZERO).await;
    assert_eq!(world.cursor(&dead).await, 0, "what was exhausted is still due");
}

/// Everything that is killed with the process: the tasks of a delivery system on a runtime of their own.
struct Process(Option<tokio::runtime::Runtime>);

impl Process {
    fn start(options: WebhooksOptions) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        drop(Webhooks::start(options));
        Self(Some(runtime))
    }

    /// Ends every task wherever it is, and waits until none runs: a process that was killed does nothing later.
    fn kill(mut self) {
        if let Some(runtime) = self.0.take() {
            tokio::task::block_in_place(|| runtime.shutdown_timeout(BOUND));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_failures_and_crashes_lose_nothing() {
    const N_EVENTS: usize = 300;
    let world = World::new().await;
    let chance = SeededEntropy::new(42);
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let log = Arc::clone(&taken);
    let receiver = Receiver::start(move |received| match chance.next_u64() % 10 {
        0 => Answer::Status(500),
        1 => Answer::Reset,
        2 => Answer::StatusThenClose(503),
        3 => Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()),
        n => {
            log.lock().unwrap().insert(received.event_id());
            if n == 4 { Answer::StatusThenClose(200) } else { Answer::Status(200) }
        }
    })
    .await;
    let webhook = world.webhook(&receiver.url()).await;
    let retry = RetryPolicy {
        delays: vec![Duration::from_secs(1); 60],
        timeout: Duration::from_secs(1 << 30),
        jitter: false,
    };
    let defaults = Defaults { retry, ..Defaults::default() };
    let options = || WebhooksOptions { defaults: defaults.clone(), ..world.options() };
    let clock = world.clock.clone();
    let ticking = tokio::spawn(async move {
        loop {
            // sleep: how fast the clock runs
            tokio::time::sleep(Duration::from_millis(1)).await;
            clock.advance(Duration::from_secs(1));
        }
    });
    let mut process = Process::start(options());
    let mut owed = BTreeSet::new();
    for n in 0..N_EVENTS {
        owed.insert(world.happens(n, EventType::Updated).await.id.to_string());
        if n % 30 == 29 {
            // Somewhere in the middle of what it does.
            receiver.wait_for(n / 2).await;
            process.kill();
            process = Process::start(options());
        }
    }
    eventually("everything is delivered", || async { taken.lock().unwrap().len() == N_EVENTS }).await;
    assert_eq!(*taken.lock().unwrap(), owed);
    eventually("everything is settled", || async {
        // Notices that the webhook fails, and works again, are events of the team too.
        let last = world.store.events.last_sequence(world.team.id).await.unwrap();
        world.cursor(&webhook).await == last && world.exceptions(&webhook).await.is_empty()
    })
    .await;
    process.kill();
    ticking.abort();
}

#[tokio::test]
async fn retries_go_on_after_a_restart_where_they_were() {
    let world = World::new().await;
    let receiver = Receiver::start(|_| Answer::Status(500)).await;
    let webhook = world.webhook(&receiver.url()).await;
    let webhooks = world.start();
    world.happens(0, EventType::Created).await;
    receiver.wait_for(1).await;
    webhooks.drain(BOUND).await;
    let [exception] = world.exceptions(&webhook).await.try_into().unwrap();
    assert_eq!(exception.n_attempts, 1);
    // The whole store goes down too; the retry comes due meanwhile.
    world.store.close().await;
    world.clock.advance(TEN_SECONDS);
    let store = Store::open(world.dir.path(), Arc::new(world.clock.clone())).unwrap();
    let webhooks = Webhooks::start(world.options_over(&store));
    receiver.wait_for(2).await;
    webhooks.drain(BOUND).await;
    let [exception] = store.deliveries.exceptions(webhook.id).await.unwrap().try_into().unwrap();
    assert_eq!(exception.n_attempts, 2);
}

#[tokio::test]
async fn disabling_cancels_what_is_owed_and_enabling_starts_anew() {
    let world = World::new().await;
    let receiver = Receiver::start(|received| match received.json()["type"].as_str() {
        Some("sandbox.lifecycle.created") => Answer::Status(500),
        Some("sandbox.lifecycle.updated") => Answer::Hang,
        _ => Answer::Status(200),
    })
    .await;
    let mut webhook = world.webhook(&receiver.url()).await;
    let webhooks = world.start();
    world.happens(0, EventType::Created).await;
    eventually("the failure is stored", || async { world.exceptions(&webhook).await.len() == 1 }).await;
    world.happens(1, EventType::Updated).await;
    receiver.wait_for(2).await;
    webhook.enabled = false;
    assert!(world.store.deliveries.update_webhook(webhook.clone()).await.unwrap());
    eventually("the owed is canceled", || async {
        let exhausted = world.exceptions(&webhook).await.iter().all(|row| row.next_due_at.is_none());
        exhausted && world.attempts(&webhook).await.len() == 2
    })
    .await;
    world.happens(2, EventType::Paused).await;
    world.clock.advance(Duration::from_secs(60));
    webhook.enabled = true;
    assert!(world.store.deliveries.update_webhook(webhook.clone()).await.unwrap());
    let event = world.happens(3, EventType::Resumed).await;
    let received = receiver.wait_for(3).await;
    assert_eq!(received[2].event_id(), event.id.to_string());
    webhooks.drain(BOUND).await;
    assert_eq!(receiver.received().len(), 3);
    let outcomes: Vec<_> =
        world.attempts(&webhook).await.into_iter().map(|attempt| attempt.outcome).collect();
    assert!(outcomes.iter().any(
        |outcome| matches!(outcome, AttemptOutcome::Failed { class, .. } if *class == ErrorClass::Canceled)
    ));
}

#[tokio::test]
async fn a_deleted_webhook_gets_nothing_more() {
    let world = World::new().await;
    let receiver = Receiver::start(|_| Answer::Status(500)).await;
    let witness = ok().await;
    let webhook = world.webhook(&receiver.url()).await;
    world.webhook(&witness.url()).await;
    let webhooks = world.start();
    world.happens(0, EventType::Created).await;
    eventually("the failure is stored", || async { world.exceptions(&webhook).await.len() == 1 }).await;
    assert!(world.store.deliveries.delete_webhook(world.team.id, webhook.id).await.unwrap());
    // The witness's registration follows the deletion, so whoever serves it has seen that.
    let late = ok().await;
    world.webhook(&late.url()).await;
    world.happen(50).await;
    late.wait_for(50).await;
    witness.wait_for(51).await;
    world.clock.advance(Duration::from_secs(60));
    webhooks.drain(BOUND).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_changed_url_is_where_retries_go() {
    let world = World::new().await;
    let old = Receiver::start(|_| Answer::Status(500)).await;
    let new = ok().await;
    let mut webhook = world.webhook(&old.url()).await;
    let webhooks = world.start();
    let event = world.happens(0, EventType::Created).await;
    eventually("the failure is stored", || async { world.exceptions(&webhook).await.len() == 1 }).await;
    webhook.url = new.url();
    assert!(world.store.deliveries.update_webhook(webhook.clone()).await.unwrap());
    let after = world.happens(1, EventType::Updated).await;
    assert_eq!(new.wait_for(1).await[0].event_id(), after.id.to_string());
    world.clock.advance(TEN_SECONDS);
    assert_eq!(new.wait_for(2).await[1].event_id(), event.id.to_string());
    webhooks.drain(BOUND).await;
    assert_eq!(old.received().len(), 1);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_owes_the_rest() {
    let world = World::new().await;
    let slow = Receiver::start(|_| Answer::Hang).await;
    let webhook = world.webhook(&slow.url()).await;
    let webhooks = world.start();
    world.happen(20).await;
    slow.wait_for(8).await;
    // Its attempts end by their deadline while the drain waits for them.
    let clock = world.clock.clone();
    let (draining, timing) = (webhooks.drain(BOUND), async {
        clock.advance(TEN_SECONDS);
    });
    tokio::join!(draining, timing);
    assert_eq!(slow.received().len(), 8, "nothing new was started");
    let exceptions = world.exceptions(&webhook).await;
    assert_eq!(exceptions.len(), 8);
    assert_eq!(world.cursor(&webhook).await, 8);
    assert_eq!(world.attempts(&webhook).await.len(), 8);
}

#[tokio::test]
async fn a_store_that_refuses_bounds_what_goes_on_and_loses_nothing() {
    let world = World::new().await;
    let receiver = ok().await;
    let webhook = world.webhook(&receiver.url()).await;
    let owed = world.happen(500).await;
    world.faults.fail_always(Some(Fault::Full));
    let webhooks = world.start();
    receiver.wait_for(8).await;
    eventually("progress could not be stored", || async { world.clock.n_sleepers() > 1 }).await;
    let n_unrecorded = receiver.received().len();
    assert!(n_unrecorded <= 8, "{n_unrecorded}");
    world.faults.fail_always(None);
    world.clock.advance(Duration::from_secs(1));
    receiver.wait_for(500).await;
    assert_eq!(ids(&receiver), owed.into_iter().collect());
    webhooks.drain(BOUND).await;
    assert_eq!(world.cursor(&webhook).await, 500);
}

#[tokio::test]
async fn a_supervisor_that_fails_is_seen_and_deliveries_go_on_from_what_is_stored() {
    let world = World::new().await;
    let receiver = ok().await;
    let webhook = world.webhook(&receiver.url()).await;
    // What the supervisor sleeps for between two scans.
    let clock = PoisonClock::new(world.clock.clone(), Duration::from_secs(10));
    let options = WebhooksOptions { clock: Arc::new(clock.clone()), ..world.options() };
    let tasks = options.tasks.clone();
    let webhooks = Webhooks::start(options);
    let before = world.happen(20).await;
    receiver.wait_for(20).await;
    // An attempt whose answer was not read yet would run into its timeout, and wait for a retry that the clock never
    // comes to.
    eventually("they are settled", || async { world.cursor(&webhook).await == 20 }).await;
    clock.poison(1);
    world.clock.advance(Duration::from_secs(10));
    eventually("the supervisor has failed", || async { tasks.in_trouble() == ["webhooks"] }).await;
    let meanwhile = world.happen(20).await;
    world.clock.advance(Duration::from_secs(1));
    // What was delivered and not recorded when it failed may come twice, as after a crash.
    let all: BTreeSet<String> = before.into_iter().chain(meanwhile).collect();
    eventually("all are delivered", || async { ids(&receiver) == all }).await;
    assert!(tasks.in_trouble().is_empty());
    let later = world.happen(5).await;
    eventually("later ones", || async { later.iter().all(|id| ids(&receiver).contains(id)) }).await;
    webhooks.drain(BOUND).await;
    assert_eq!(world.cursor(&webhook).await, 45);
}
