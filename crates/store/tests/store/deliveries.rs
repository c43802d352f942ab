//! Webhooks, their progress and their attempts.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Waker};

use crate::support::{House, at, uuid};
use sandscope_model::{
    Attempt, AttemptOutcome, ErrorClass, EventType, EventTypes, Exception, Replay, ReplayState, Secret,
    Selection, Team, Webhook, WebhookId, WebhookOptions,
};
use sandscope_store::{
    AttemptQuery, DeliveryProgress, Order, ReplayStep, Sealer, StatsBucket, Store, StoreOptions,
};

pub(crate) fn webhook(team: &Team) -> Webhook {
    Webhook {
        id: uuid(),
        team_id: team.id,
        name: "hook".to_owned(),
        url: "https://example.com/hook".to_owned(),
        events: EventTypes::from([EventType::Created, EventType::Killed]),
        enabled: true,
        signature_secret: Secret::new("s".repeat(32)),
        previous_secret: None,
        headers: BTreeMap::new(),
        options: WebhookOptions::default(),
        created_at: at(0),
    }
}

pub(crate) fn exception(webhook_id: WebhookId, sequence: u64, next_due_s: Option<i64>) -> Exception {
    Exception {
        webhook_id,
        sequence,
        n_attempts: 1,
        next_due_at: next_due_s.map(at),
        replay_no: None,
        was_exhausted: false,
    }
}

#[tokio::test]
async fn a_webhook_starts_at_the_end_of_the_log_and_so_does_one_enabled_again() {
    let house = House::new().await;
    let mut changes = house.store.deliveries.subscribe_webhooks();
    let mut sandbox = house.running(0).await;
    let mut hook = webhook(&house.team);
    assert!(house.store.deliveries.insert_webhook(hook.clone(), 1).await.unwrap());
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert!(!house.store.deliveries.insert_webhook(webhook(&house.team), 1).await.unwrap());
    assert!(!changes.has_changed().unwrap());
    assert_eq!(house.store.deliveries.cursor(hook.id).await.unwrap(), Some(1));
    assert_eq!(house.store.deliveries.webhooks(house.team.id).await.unwrap(), [hook.clone()]);
    assert_eq!(house.store.deliveries.all_webhooks().await.unwrap(), [hook.clone()]);

    house.update(&mut sandbox, 1).await;
    hook.url = "https://example.com/other".to_owned();
    assert!(house.store.deliveries.update_webhook(hook.clone()).await.unwrap());
    assert_eq!(house.store.deliveries.cursor(hook.id).await.unwrap(), Some(1));
    hook.enabled = false;
    assert!(house.store.deliveries.update_webhook(hook.clone()).await.unwrap());
    assert_eq!(house.store.deliveries.cursor(hook.id).await.unwrap(), Some(1));
    hook.enabled = true;
    assert!(house.store.deliveries.update_webhook(hook.clone()).await.unwrap());
    assert_eq!(house.store.deliveries.cursor(hook.id).await.unwrap(), Some(2));

    let other = house.other_team("other").await;
    assert_eq!(house.store.deliveries.webhook(other.id, hook.id).await.unwrap(), None);
    assert!(
        !house.store.deliveries.update_webhook(Webhook { team_id: other.id, ..hook.clone() }).await.unwrap()
    );
    assert!(!house.store.deliveries.delete_webhook(other.id, hook.id).await.unwrap());
    changes.mark_unchanged();
    assert!(house.store.deliveries.delete_webhook(house.team.id, hook.id).await.unwrap());
    assert!(changes.has_changed().unwrap());
    assert_eq!(house.store.deliveries.cursor(hook.id).await.unwrap(), None);
}

#[tokio::test]
async fn who_takes_over_waits_for_what_the_one_before_handed_in_and_did_not_wait_for() {
    let house = House::new().await;
    let hook = webhook(&house.team);
    let id = hook.id;
    house.store.deliveries.insert_webhook(hook, 10).await.unwrap();
    for n in 1..=20 {
        let progress = DeliveryProgress {
            cursor: Some(n),
            set: vec![exception(id, n, Some(10))],
            ..DeliveryProgress::of(id)
        };
        {
            let mut aborted = pin!(house.store.deliveries.record_deliveries(progress));
            let _ = aborted.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        house.store.deliveries.deliveries_recorded().await.unwrap();
        assert_eq!(house.store.deliveries.cursor(id).await.unwrap(), Some(n));
        assert_eq!(house.store.deliveries.exceptions(id).await.unwrap().len() as u64, n);
    }
}

#[tokio::test]
async fn progress_only_goes_forward_and_exceptions_come_and_go() {
    let house = House::new().await;
    let hook = webhook(&house.team);
    let id = hook.id;
    house.store.deliveries.insert_webhook(hook, 10).await.unwrap();
    let record = async |cursor, set, clear| {
        let progress = DeliveryProgress { cursor, set, clear, ..DeliveryProgress::of(id) };
        house.store.deliveries.record_deliveries(progress).await.unwrap();
    };
    record(Some(5), vec![exception(id, 3, Some(10)), exception(id, 4, Some(11))], vec![]).await;
    record(Some(2), vec![exception(id, 7, None)], vec![3]).await;
    assert_eq!(house.store.deliveries.cursor(id).await.unwrap(), Some(5));
    // 7 is out of attempts, but the cursor has not passed it.
    let expected = [exception(id, 4, Some(11)), exception(id, 7, None)];
    assert_eq!(house.store.deliveries.exceptions(id).await.unwrap(), expected);
    record(Some(8), vec![], vec![]).await;
    assert_eq!(house.store.deliveries.exceptions(id).await.unwrap(), [exception(id, 4, Some(11))]);

    house.store.deliveries.delete_webhook(house.team.id, id).await.unwrap();
    record(Some(9), vec![exception(id, 9, Some(1))], vec![]).await;
    assert_eq!(house.store.deliveries.exceptions(id).await.unwrap(), []);
}

pub(crate) fn attempt(team: &Team, webhook_id: WebhookId, second: i64, success: bool) -> Attempt {
    Attempt {
        id: uuid(),
        team_id: team.id,
        webhook_id,
        event_id: uuid(),
        sequence: 1,
        sandbox_id: Some(crate::support::sandbox_id()),
        event_type: if second % 2 == 0 { EventType::Created } else { EventType::Killed },
        started_at: at(second),
        duration_ms: u32::try_from(second).unwrap() * 10,
        outcome: if success {
            AttemptOutcome::Success
        } else {
            AttemptOutcome::Failed { class: ErrorClass::HttpError, message: "500".to_owned() }
        },
        request_url: "https://example.com/hook".to_owned(),
        request_headers: "{}".to_owned(),
        request_body: "{\"a\":1}".to_owned(),
        response_status: Some(if success { 200 } else { 500 }),
        response_headers: Some("{}".to_owned()),
        response_body: None,
    }
}

#[tokio::test]
async fn attempts_are_found_by_time_outcome_and_type() {
    let house = House::new().await;
    let hook: WebhookId = uuid();
    let mut attempts: Vec<_> =
        (0..8).map(|second| attempt(&house.team, hook, second, second % 4 != 3)).collect();
    attempts[2].outcome = AttemptOutcome::Cut;
    house.store.attempts.insert_attempts(attempts.clone()).await.unwrap();
    house.store.attempts.insert_attempts(vec![attempt(&house.team, uuid(), 3, true)]).await.unwrap();
    let all = AttemptQuery {
        cursor: None,
        limit: 100,
        order: Order::Desc,
        start: None,
        end: None,
        success: None,
        types: Vec::new(),
    };
    let list = async |query| {
        let found = house.store.attempts.attempts(house.team.id, hook, query).await.unwrap();
        found
            .into_iter()
            .map(|one| attempts.iter().position(|other| *other == one).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(all.clone()).await, [7, 6, 5, 4, 3, 2, 1, 0]);
    let cursor = Some((attempts[5].started_at, attempts[5].id));
    assert_eq!(list(AttemptQuery { cursor, limit: 2, ..all.clone() }).await, [4, 3]);
    assert_eq!(list(AttemptQuery { cursor, order: Order::Asc, ..all.clone() }).await, [6, 7]);
    let range = AttemptQuery { start: Some(at(2)), end: Some(at(4)), ..all.clone() };
    assert_eq!(list(range).await, [4, 3, 2]);
    assert_eq!(list(AttemptQuery { success: Some(false), ..all.clone() }).await, [7, 3]);
    let created = AttemptQuery { types: vec![EventType::Created], limit: 2, ..all.clone() };
    assert_eq!(list(created).await, [6, 4]);
    let other = house.other_team("other").await;
    assert_eq!(house.store.attempts.attempts(other.id, hook, all).await.unwrap(), []);

    let stats = house.store.attempts.attempt_stats(house.team.id, hook, at(0), at(7), 4).await.unwrap();
    // The clock of these tests starts at a multiple of four seconds.
    let bucket = |start, min, avg, max| StatsBucket { start: at(start), total: 4, failed: 1, min, avg, max };
    assert_eq!(stats, [bucket(0, 0.0, 15.0, 30.0), bucket(4, 40.0, 55.0, 70.0)]);
    assert_eq!(house.store.attempts.attempt_stats(other.id, hook, at(0), at(7), 4).await.unwrap(), []);
}

#[tokio::test]
async fn attempts_go_after_seven_days() {
    let house = House::new().await;
    let (hook, week) = (uuid(), 7 * 24 * 3600);
    let attempts = (0..1_203).map(|second| attempt(&house.team, hook, second, true)).collect();
    house.store.attempts.insert_attempts(attempts).await.unwrap();
    assert_eq!(house.store.attempts.delete_expired(at(week)).await.unwrap(), 0, "to the second");
    assert_eq!(house.store.attempts.delete_expired(at(week + 1_201)).await.unwrap(), 1_201);
    let left =
        house.store.attempts.attempt_stats(house.team.id, hook, at(0), at(2_000), 86_400).await.unwrap();
    assert_eq!(left.iter().map(|bucket| bucket.total).sum::<u64>(), 2);
}

#[tokio::test]
async fn what_a_disabled_webhook_passed_over_is_replayed_once_by_a_durable_cursor() {
    let house = House::new().await;
    let mut sandbox = house.running(0).await;
    let mut hook = webhook(&house.team);
    hook.enabled = false;
    house.store.deliveries.insert_webhook(hook.clone(), 10).await.unwrap();
    for second in 1..=10 {
        house.update(&mut sandbox, second).await;
    }
    hook.enabled = true;
    assert!(house.store.deliveries.update_webhook(hook.clone()).await.unwrap());
    let standing = house.store.deliveries.webhook_standing(hook.id).await.unwrap().unwrap();
    assert_eq!((standing.cursor, standing.n_skipped), (11, 10));
    let dead = DeliveryProgress { set: vec![exception(hook.id, 1, None)], ..DeliveryProgress::of(hook.id) };
    house.store.deliveries.record_deliveries(dead).await.unwrap();

    let range = house.store.events.sequence_range(house.team.id, Some(at(0)), Some(at(4))).await.unwrap();
    let (first, last) = range.unwrap();
    assert_eq!((first, last), (1, 5));
    let replay = Replay {
        id: uuid(),
        webhook_id: hook.id,
        selection: Selection::Failed,
        first,
        last,
        next: first,
        rate_per_second: None,
        state: ReplayState::Running,
        n_selected: 0,
        n_delivered: 0,
        n_failed: 0,
        n_dropped: 0,
        created_at: at(20),
        finished_at: None,
    };
    assert!(house.store.deliveries.insert_replay(replay.clone(), 1).await.unwrap());
    let second = Replay { id: uuid(), ..replay.clone() };
    assert!(!house.store.deliveries.insert_replay(second, 1).await.unwrap(), "one at a time");
    assert_eq!(house.store.deliveries.webhooks_with_replays().await.unwrap(), [hook.id]);
    let [(no, mut running)] =
        house.store.deliveries.running_replays(hook.id).await.unwrap().try_into().unwrap();
    let mut seen = Vec::new();
    while running.next <= running.last {
        let page = house.store.deliveries.replay_page(house.team.id, running.clone(), 2).await.unwrap();
        let n_selected = page.events.len() as u64;
        seen.extend(page.events.iter().map(|(event, lost)| (event.sequence, *lost)));
        let step = ReplayStep {
            no,
            at: at(30),
            next: Some(page.next),
            n_selected,
            n_delivered: n_selected,
            n_failed: 0,
            n_dropped: 0,
        };
        let clear = page.events.iter().map(|(event, _)| event.sequence).collect();
        let progress = DeliveryProgress { clear, replays: vec![step], ..DeliveryProgress::of(hook.id) };
        house.store.deliveries.record_deliveries(progress).await.unwrap();
        running = house.store.deliveries.replay(hook.id, replay.id).await.unwrap().unwrap();
    }
    assert_eq!(seen, [(1, true), (2, true), (3, true), (4, true), (5, true)]);
    assert_eq!(
        (running.state, running.n_delivered, running.finished_at),
        (ReplayState::Done, 5, Some(at(30)))
    );
    let standing = house.store.deliveries.webhook_standing(hook.id).await.unwrap().unwrap();
    assert_eq!((standing.n_skipped, standing.n_exhausted), (6, 0), "6 to 11 were not asked for");
    assert!(!house.store.deliveries.cancel_replay(hook.id, replay.id, at(31)).await.unwrap());
}

#[tokio::test]
async fn secrets_are_not_in_the_file_and_a_changed_key_seals_them_again() {
    #[derive(Debug)]
    struct Fixed(std::sync::atomic::AtomicU8);
    impl sandscope_model::Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        }
    }
    let house = House::new().await;
    let mut hook = webhook(&house.team);
    hook.signature_secret = Secret::new("a very secret secret".to_owned());
    hook.headers = BTreeMap::from([("authorization".to_owned(), Secret::new("Bearer hidden".to_owned()))]);
    house.store.deliveries.insert_webhook(hook.clone(), 10).await.unwrap();
    house.store.close().await;
    let open = |current: u8, previous: &[u8]| {
        let previous: Vec<_> = previous.iter().map(|byte| [*byte; 32]).collect();
        let sealer = Sealer::new(&[current; 32], &previous, std::sync::Arc::new(Fixed(0.into()))).unwrap();
        let options = StoreOptions { sealer: Some(std::sync::Arc::new(sealer)), ..StoreOptions::default() };
        Store::open_options(house.dir.path(), house.clock.clone(), options).unwrap()
    };
    for (current, previous, n_sealed) in [(1, &[][..], 1), (1, &[], 0), (2, &[1], 1), (2, &[], 0)] {
        let store = open(current, previous);
        assert_eq!(store.deliveries.reseal_webhooks().await.unwrap(), n_sealed);
        assert_eq!(store.deliveries.webhook(house.team.id, hook.id).await.unwrap(), Some(hook.clone()));
        store.close().await;
    }
    let store = open(1, &[]);
    assert_eq!(
        store.deliveries.webhook(house.team.id, hook.id).await,
        Err(sandscope_store::StoreError::Sealed)
    );
    assert_eq!(store.deliveries.reseal_webhooks().await, Err(sandscope_store::StoreError::Sealed));
    store.close().await;
}
