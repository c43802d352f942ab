//! Teams, keys, admission, changes and the log, on real files.

use crate::support::{House, StepClock, at, draft, execution, key, sandbox, team};
use sandscope_model::{EventFilter, EventType, Sandbox, SandboxId, State, TeamLimits, Timestamp};
use sandscope_store::fault::Fault;
use sandscope_store::{
    Admission, Change, EventQuery, FirstTeam, Heard, IdempotencyKey, ListedState, Order, SandboxFilter,
    Store, StoreError,
};

fn newest(limit: u32) -> EventQuery {
    EventQuery { limit, ..EventQuery::default() }
}

#[tokio::test]
async fn the_first_team_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), std::sync::Arc::new(StepClock::default())).unwrap();
    let first = team("one");
    let new = key(&first, "first");
    let hash = new.hash;
    assert_eq!(
        store.facts.ensure_first_team(first.clone(), new).await.unwrap(),
        FirstTeam::Created(first.clone())
    );
    let second = team("two");
    let other = key(&second, "second");
    assert_eq!(
        store.facts.ensure_first_team(second, other.clone()).await.unwrap(),
        FirstTeam::Existing(first.clone())
    );
    assert_eq!(store.facts.authenticate(hash).await.unwrap().unwrap().team, first);
    assert_eq!(store.facts.authenticate(other.hash).await.unwrap(), None);
}

#[tokio::test]
async fn teams_keep_their_limits_and_slugs_are_unique() {
    let house = House::new().await;
    assert!(!house.store.facts.create_team(team("first")).await.unwrap());
    let limits = TeamLimits { event_retention_days: 30, ..TeamLimits::default() };
    assert!(house.store.facts.set_team_limits(house.team.id, limits).await.unwrap());
    assert_eq!(house.store.facts.team(house.team.id).await.unwrap().unwrap().limits, limits);
    assert!(!house.store.facts.set_team_limits(team("x").id, limits).await.unwrap());
    assert_eq!(house.store.facts.teams().await.unwrap().len(), 1);
}

#[tokio::test]
async fn keys_live_and_die_and_belong_to_their_team() {
    let house = House::new().await;
    let other = house.other_team("other").await;
    let new = key(&house.team, "mine");
    house.store.facts.insert_api_key(new.clone()).await.unwrap();
    assert_eq!(house.store.facts.api_keys(house.team.id).await.unwrap(), vec![new.key.clone()]);
    assert_eq!(house.store.facts.api_keys(other.id).await.unwrap(), []);
    assert_eq!(
        house.store.facts.rename_api_key(other.id, new.key.id, "theirs".to_owned()).await.unwrap(),
        None
    );
    let renamed =
        house.store.facts.rename_api_key(house.team.id, new.key.id, "ours".to_owned()).await.unwrap();
    assert_eq!(renamed.unwrap().name, "ours");
    assert!(!house.store.facts.delete_api_key(other.id, new.key.id, at(200)).await.unwrap());

    house.store.facts.touch_api_key(new.key.id, at(100));
    house.store.facts.touch_api_key(new.key.id, at(130));
    // A write that waits comes after those that do not.
    house.store.facts.create_team(team("later")).await.unwrap();
    assert_eq!(house.store.facts.api_keys(house.team.id).await.unwrap()[0].last_used_at, Some(at(100)));

    let known = house.store.facts.authenticate(new.hash).await.unwrap().unwrap();
    assert_eq!((known.key_id, known.key_name.as_str()), (new.key.id, "ours"));
    assert_eq!(house.store.facts.deleted_api_keys(house.team.id).await.unwrap(), []);
    assert!(house.store.facts.delete_api_key(house.team.id, new.key.id, at(200)).await.unwrap());
    assert_eq!(house.store.facts.authenticate(new.hash).await.unwrap(), None);
    assert_eq!(house.store.facts.api_keys(house.team.id).await.unwrap(), []);
    let deleted = house.store.facts.deleted_api_keys(house.team.id).await.unwrap();
    let [deleted] = deleted.as_slice() else { panic!("{deleted:?}") };
    assert_eq!(deleted.deleted_at, at(200));
    assert_eq!((deleted.key.id, deleted.key.name.as_str()), (new.key.id, "ours"));
    assert!(!house.store.facts.delete_api_key(house.team.id, new.key.id, at(201)).await.unwrap());
    assert_eq!(house.store.facts.deleted_api_keys(other.id).await.unwrap(), []);

    // After more than the longest retention no event names it any more.
    let next = key(&house.team, "next");
    house.store.facts.insert_api_key(next.clone()).await.unwrap();
    let later = at(200 + 367 * 24 * 3600);
    assert!(house.store.facts.delete_api_key(house.team.id, next.key.id, later).await.unwrap());
    let left = house.store.facts.deleted_api_keys(house.team.id).await.unwrap();
    assert_eq!(left.iter().map(|deleted| deleted.key.id).collect::<Vec<_>>(), [next.key.id]);
    let stranger = key(&team("nobody"), "x");
    assert_eq!(house.store.facts.insert_api_key(stranger).await, Err(StoreError::UnknownTeam));
}

#[tokio::test]
async fn a_change_and_its_event_are_one() {
    let house = House::new().await;
    let mut feed = house.store.events.subscribe_events();
    let sandbox = house.running(10).await;
    let Some(Heard::Event(event)) = feed.next().await else { panic!("the feed says nothing") };
    assert_eq!((event.sequence, event.event_type()), (1, EventType::Created));
    assert_eq!(house.store.facts.sandbox(&sandbox.id).await.unwrap(), Some(sandbox.clone()));
    assert_eq!(house.store.events.events(house.team.id, newest(10)).await.unwrap(), [(*event).clone()]);
    assert_eq!(house.store.events.event(house.team.id, 1).await.unwrap(), Some((*event).clone()));

    let stale = Change {
        sandbox: crate::support::sandbox(&house.team, 1),
        event: Some(draft(&sandbox, EventType::Updated, at(11))),
        snapshot: None,
    };
    assert_eq!(house.store.facts.commit(stale).await, Err(StoreError::Conflict));
    let mut old = sandbox.clone();
    old.generation = 0;
    let event = Some(draft(&old, EventType::Updated, at(11)));
    let change = Change { sandbox: old, event, snapshot: None };
    assert_eq!(house.store.facts.commit(change).await, Err(StoreError::Conflict));
    assert_eq!(house.store.events.last_sequence(house.team.id).await.unwrap(), 1);
    assert_eq!(house.store.facts.sandbox(&sandbox.id).await.unwrap(), Some(sandbox));
}

#[tokio::test]
async fn a_time_finer_than_a_microsecond_is_the_same_in_the_answer_and_in_the_log() {
    let house = House::new().await;
    let sandbox = house.running(0).await;
    let fine = Timestamp::from_nanosecond(1_790_000_000_123_456_789).unwrap();
    let event = Some(draft(&sandbox, EventType::Updated, fine));
    let event = house.store.facts.commit(Change { sandbox, event, snapshot: None }).await.unwrap().unwrap();
    assert_eq!(house.store.events.event(house.team.id, 2).await.unwrap(), Some(event));
}

#[tokio::test]
async fn admission_counts_what_runs_and_the_last_place_is_taken_once() {
    let house = House::new().await;
    let mut admissions = Vec::new();
    for second in 0..10 {
        let sandbox = house.creating(second);
        let store = house.store.clone();
        admissions
            .push(tokio::spawn(async move { store.facts.admit_sandbox(&sandbox, 4, None).await.unwrap() }));
    }
    let mut admitted = 0;
    for admission in admissions {
        match admission.await.unwrap() {
            Admission::Admitted => admitted += 1,
            other => assert_eq!(other, Admission::LimitReached { limit: 4 }),
        }
    }
    assert_eq!(admitted, 4);

    let live = house.store.facts.live_sandboxes().await.unwrap();
    house.store.facts.drop_sandbox(&live[0].id).await.unwrap();
    assert_eq!(house.store.facts.sandbox(&live[0].id).await.unwrap(), None);
    let next = house.creating(20);
    assert_eq!(house.store.facts.admit_sandbox(&next, 4, None).await.unwrap(), Admission::Admitted);
}

#[tokio::test]
async fn an_idempotency_key_answers_as_the_first_request_did() {
    let house = House::new().await;
    let admit = async |sandbox: &Sandbox, hash: u8| {
        let idempotency = Some(IdempotencyKey { key: "k".to_owned(), request_hash: [hash; 32] });
        house.store.facts.admit_sandbox(sandbox, 2, idempotency).await.unwrap()
    };
    let mut first = house.creating(0);
    let second = house.creating(1);
    assert_eq!(admit(&first, 1).await, Admission::Admitted);
    assert_eq!(admit(&second, 1).await, Admission::InProgress);
    assert_eq!(admit(&second, 2).await, Admission::Mismatch);
    // A create that failed gives the key back.
    house.store.facts.drop_sandbox(&first.id).await.unwrap();
    assert_eq!(admit(&first, 2).await, Admission::Admitted);
    first.state = State::Running { execution: execution(&first) };
    house.store.facts.commit(Change { sandbox: first.clone(), event: None, snapshot: None }).await.unwrap();
    assert_eq!(admit(&second, 2).await, Admission::Replay(first.id.clone()));
    // A dropped sandbox is one nobody was told of: this one stays.
    house.store.facts.drop_sandbox(&first.id).await.unwrap();
    assert_eq!(admit(&second, 2).await, Admission::Replay(first.id.clone()));
    // Another team may use the same key.
    let other = house.other_team("other").await;
    assert_eq!(admit(&crate::support::sandbox(&other, 1), 9).await, Admission::Admitted);
    house.clock.set(24 * 3600);
    assert_eq!(admit(&second, 9).await, Admission::Admitted);
}

#[tokio::test]
async fn lists_follow_state_labels_start_and_position() {
    let house = House::new().await;
    let mut ids: Vec<SandboxId> = Vec::new();
    for second in 0..6 {
        let mut sandbox = house.creating(second);
        if second % 2 == 0 {
            sandbox.spec.metadata.insert("user \"x\"".to_owned(), "a&b".to_owned());
        }
        ids.push(house.admit_and_run(sandbox).await.id);
    }
    let mut paused = house.store.facts.sandbox(&ids[5]).await.unwrap().unwrap();
    let State::Running { execution } = paused.state else { panic!("not running") };
    paused.state = State::Pausing { execution };
    house.store.facts.commit(Change { sandbox: paused, event: None, snapshot: None }).await.unwrap();
    house.store.facts.admit_sandbox(&house.creating(9), 100, None).await.unwrap();

    let list = async |filter: SandboxFilter| {
        let listed = house.store.facts.sandboxes(house.team.id, filter).await.unwrap();
        listed
            .into_iter()
            .map(|sandbox| ids.iter().position(|id| *id == sandbox.id).unwrap())
            .collect::<Vec<_>>()
    };
    let all = SandboxFilter { limit: 100, ..SandboxFilter::default() };
    assert_eq!(list(all.clone()).await, [5, 4, 3, 2, 1, 0]);
    assert_eq!(list(SandboxFilter { order: Order::Asc, limit: 2, ..all.clone() }).await, [0, 1]);
    let page = SandboxFilter { after: Some((at(4), ids[4].clone())), limit: 2, ..all.clone() };
    assert_eq!(list(page).await, [3, 2]);
    let page = SandboxFilter { order: Order::Asc, after: Some((at(4), ids[4].clone())), ..all.clone() };
    assert_eq!(list(page).await, [5]);
    assert_eq!(list(SandboxFilter { states: vec![ListedState::Paused], ..all.clone() }).await, [5]);
    let labels = vec![("user \"x\"".to_owned(), "a&b".to_owned())];
    let labelled = SandboxFilter { metadata: labels, ..all.clone() };
    assert_eq!(list(labelled.clone()).await, [4, 2, 0]);
    assert_eq!(house.store.facts.count_running(house.team.id, labelled).await.unwrap(), 3);
    assert_eq!(house.store.facts.count_running(house.team.id, all.clone()).await.unwrap(), 5);
    assert_eq!(list(SandboxFilter { started_after: Some(at(4)), ..all.clone() }).await, [5, 4]);
    let foreign = SandboxFilter { template: Some("other000000000000000".parse().unwrap()), ..all.clone() };
    assert_eq!(list(foreign).await, [0_usize; 0]);
    let other = house.other_team("other").await;
    assert_eq!(house.store.facts.sandboxes(other.id, all).await.unwrap(), []);
}

#[tokio::test]
async fn the_log_is_read_by_page_sandbox_and_type() {
    let house = House::new().await;
    let mut one = house.running(0).await;
    let mut two = house.running(1).await;
    for second in 2..8 {
        house.update(if second % 2 == 0 { &mut one } else { &mut two }, second).await;
    }
    let sequences = async |query: EventQuery| {
        let events = house.store.events.events(house.team.id, query).await.unwrap();
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    assert_eq!(sequences(newest(3)).await, [8, 7, 6]);
    assert_eq!(sequences(EventQuery { offset: 3, ..newest(2) }).await, [5, 4]);
    assert_eq!(sequences(EventQuery { order: Order::Asc, offset: 1, ..newest(2) }).await, [2, 3]);
    let with = |filter, query| EventQuery { filter, ..query };
    let of_one = EventFilter { sandbox_id: Some(one.id.clone()), ..EventFilter::default() };
    let types = |types| EventFilter { types, ..EventFilter::default() };
    assert_eq!(sequences(with(of_one.clone(), newest(10))).await, [7, 5, 3, 1]);
    let created = vec![EventType::Created];
    let its_creation = EventFilter { types: created.clone(), ..of_one };
    assert_eq!(sequences(with(its_creation, newest(10))).await, [1]);
    assert_eq!(sequences(with(types(created), newest(10))).await, [2, 1]);
    let several = vec![EventType::Updated, EventType::Created, EventType::Created, EventType::Killed];
    let late = EventQuery { offset: 5, ..newest(2) };
    assert_eq!(sequences(with(types(several.clone()), late)).await, [3, 2]);
    let ascending = EventQuery { order: Order::Asc, offset: 1, ..newest(2) };
    assert_eq!(sequences(with(types(several), ascending)).await, [2, 3]);
    assert_eq!(sequences(with(types(EventType::ALL.to_vec()), newest(1))).await, [8]);

    let after = house.store.events.events_after(house.team.id, 6, 10).await.unwrap();
    assert_eq!(after.iter().map(|event| event.sequence).collect::<Vec<_>>(), [7, 8]);
    assert_eq!(house.store.events.event(house.team.id, 9).await.unwrap(), None);
    assert!(house.store.events.knows_sandbox(house.team.id, &one.id).await.unwrap());
    let other = house.other_team("other").await;
    assert!(!house.store.events.knows_sandbox(other.id, &one.id).await.unwrap());
    assert_eq!(house.store.events.last_sequence(other.id).await.unwrap(), 0);
}

#[tokio::test]
async fn a_failed_commit_changes_nothing_and_reads_go_on() {
    let house = House::new().await;
    let mut sandbox = house.running(0).await;
    let mut feed = house.store.events.subscribe_events();
    for (fault, text) in [
        (Fault::Full, "the disk of the data directory is full"),
        (Fault::ReadOnly, "the data directory is read-only"),
        (Fault::Io, "the data directory cannot be accessed: writing facts.sqlite: injected"),
    ] {
        house.faults.fail_next(fault);
        let event = Some(draft(&sandbox, EventType::Updated, at(1)));
        let outcome =
            house.store.facts.commit(Change { sandbox: sandbox.clone(), event, snapshot: None }).await;
        let error = outcome.unwrap_err();
        assert!(error.is_unavailable());
        assert_eq!(error.to_string(), text);
        assert_eq!(house.store.events.last_sequence(house.team.id).await.unwrap(), 1);
    }
    assert_eq!(house.update(&mut sandbox, 2).await, 2);
    assert!(matches!(feed.next().await, Some(Heard::Event(event)) if event.sequence == 2));
    house.faults.fail_always(Some(Fault::Full));
    assert_eq!(house.store.facts.create_team(team("x")).await, Err(StoreError::Full));
    assert_eq!(house.store.facts.create_team(team("x")).await, Err(StoreError::Full));
    house.faults.fail_always(None);
    assert_eq!(house.store.facts.create_team(team("x")).await, Ok(true));
}

#[tokio::test]
async fn a_closed_store_refuses_and_an_opened_one_knows_everything() {
    let house = House::new().await;
    let sandbox = house.running(0).await;
    house.store.close().await;
    assert_eq!(house.store.facts.create_team(team("x")).await, Err(StoreError::Closed));
    assert_eq!(house.store.facts.sandbox(&sandbox.id).await, Err(StoreError::Closed));
    let again = Store::open(house.dir.path(), house.clock.clone()).unwrap();
    assert_eq!(again.facts.live_sandboxes().await.unwrap(), [sandbox]);
}

#[tokio::test]
async fn what_is_no_change_of_a_lifecycle_is_read_by_those_who_name_it() {
    let house = House::new().await;
    let mut sandbox = house.running(0).await;
    let draft = draft(&sandbox, EventType::OutOfMemory, at(1));
    let change = Change { sandbox: sandbox.clone(), event: Some(draft), snapshot: None };
    let committed = house.store.facts.commit(change).await.unwrap().unwrap();
    sandbox.generation += 1;
    let sequences = async |types: &[EventType], sandbox_id| {
        let filter = EventFilter { types: types.to_vec(), sandbox_id, ..EventFilter::default() };
        let query = EventQuery { filter, ..newest(10) };
        let events = house.store.events.events(house.team.id, query).await.unwrap();
        events.iter().map(|event| event.sequence).collect::<Vec<_>>()
    };
    for of in [None, Some(sandbox.id.clone())] {
        assert_eq!(sequences(&[], of.clone()).await, [2, 1]);
        assert_eq!(sequences(&EventType::listed().collect::<Vec<_>>(), of.clone()).await, [1]);
        assert_eq!(sequences(&[EventType::OutOfMemory], of.clone()).await, [2]);
        assert_eq!(sequences(&EventType::ALL, of).await, [2, 1]);
    }
    let newest =
        house.store.events.newest_event(house.team.id, &sandbox.id, EventType::OutOfMemory).await.unwrap();
    assert_eq!(newest.map(|event| event.id), Some(committed.id));
    assert_eq!(
        house.store.events.newest_event(house.team.id, &sandbox.id, EventType::Killed).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_logs_times_never_go_back_and_its_ids_sort_as_it_does() {
    let house = House::new().await;
    let mut one = house.running(7_200).await;
    let mut other = house.running(7_200).await;
    // Bursts within one time, the clock set back by an hour and by ten minutes, and forward by two hours.
    for seconds in [7_200, 7_200, 3_600, 3_600, 3_660, 6_600, 14_400, 14_400, 10_800] {
        house.update(&mut one, seconds).await;
        house.update(&mut other, seconds).await;
    }
    let log = house.store.events.events_after(house.team.id, 0, 100).await.unwrap();
    assert_eq!(log.len(), 20);
    assert!(log.iter().all(|event| event.id.is_ordered()));
    for pair in log.windows(2) {
        assert!(pair[0].timestamp <= pair[1].timestamp, "{pair:?}");
        assert!(pair[0].id.to_string() < pair[1].id.to_string(), "{pair:?}");
    }
    let times: Vec<_> = log.iter().skip(2).step_by(2).map(|event| event.timestamp).collect();
    assert_eq!(times, [7_200, 7_200, 7_200, 7_200, 7_200, 7_200, 14_400, 14_400, 14_400].map(at));
    // Another team's log has a time of its own.
    let other_team = house.other_team("second").await;
    let of_other = house.admit_and_run(sandbox(&other_team, 60)).await;
    let log = house.store.events.events_after(of_other.team_id, 0, 1).await.unwrap();
    assert_eq!(log[0].timestamp, at(60));
}

#[tokio::test]
async fn what_retention_removed_holds_the_times_of_what_follows_it() {
    let house = House::new().await;
    let mut sandbox = house.running(20 * 86_400).await;
    house.store.facts.delete_expired(at(200 * 86_400)).await.unwrap();
    assert!(house.store.events.events_after(house.team.id, 0, 9).await.unwrap().is_empty());
    house.update(&mut sandbox, 86_400).await;
    let log = house.store.events.events_after(house.team.id, 0, 9).await.unwrap();
    assert_eq!(log[0].timestamp, at(20 * 86_400));
}
