//! Pages of the log: whatever the filter, the order, the size and what is committed meanwhile, nothing is skipped and
//! nothing repeated.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sandscope_model::{Event, EventFilter, EventType, Fact, KillReason, Sandbox, TemplateId};
use sandscope_store::{Change, EventPage, EventQuery, MAX_EXAMINED, Order, StoreError};

use crate::support::{House, at, draft, sandbox, team};

/// An event to be committed.
#[derive(Debug, Clone)]
struct Told {
    sandbox: usize,
    event_type: EventType,
    reason: Option<KillReason>,
    second: i64,
}

const REASONS: [KillReason; 2] = [KillReason::Timeout, KillReason::Oom];
const N_SANDBOXES: usize = 3;

fn told() -> impl Strategy<Value = Told> {
    (0..N_SANDBOXES, prop::sample::select(&EventType::ALL[..]), prop::sample::select(&REASONS[..]), 0_i64..60)
        .prop_map(|(sandbox, event_type, reason, second)| {
            let reason = (event_type == EventType::Killed).then_some(reason);
            Told { sandbox, event_type, reason, second }
        })
}

/// A filter over the sandboxes a house is given below.
fn wishes() -> impl Strategy<Value = (Option<usize>, EventFilter)> {
    (
        prop::option::weighted(0.3, 0..N_SANDBOXES),
        prop::collection::vec(prop::sample::select(&EventType::ALL[..]), 0..4),
        prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(prop::sample::select(&REASONS[..]), 1..3)],
        prop::option::weighted(0.3, 0..2_usize),
        prop::option::weighted(0.3, 0..2_usize),
        prop::option::weighted(0.3, 0_i64..60),
        prop::option::weighted(0.3, 0_i64..60),
    )
        .prop_map(|(sandbox, types, reasons, template, label, start, end)| {
            let filter = EventFilter {
                sandbox_id: None,
                types,
                reasons,
                template_id: template.map(template_id),
                metadata: label.map(|n| ("n".to_owned(), n.to_string())).into_iter().collect(),
                start: start.map(at),
                end: end.map(at),
            };
            (sandbox, filter)
        })
}

fn template_id(n: usize) -> TemplateId {
    format!("t{n:019}").parse().unwrap()
}

async fn sandboxes(house: &House) -> Vec<Sandbox> {
    let mut all = Vec::new();
    for n in 0..N_SANDBOXES {
        let mut sandbox = sandbox(&house.team, 0);
        sandbox.spec.template_id = template_id(n % 2);
        sandbox.spec.metadata = BTreeMap::from([("n".to_owned(), (n / 2).to_string())]);
        house.store.facts.admit_sandbox(&sandbox, 100, None).await.unwrap();
        all.push(sandbox);
    }
    all
}

async fn tell(house: &House, sandboxes: &mut [Sandbox], told: &Told) -> Event {
    let sandbox = &mut sandboxes[told.sandbox];
    let mut draft = draft(sandbox, told.event_type, at(told.second));
    if let (Fact::Killed(death), Some(reason)) = (&mut draft.fact, told.reason) {
        death.reason = reason;
    }
    let change = Change { sandbox: sandbox.clone(), event: Some(draft), snapshot: None };
    sandbox.generation += 1;
    house.store.facts.commit(change).await.unwrap().unwrap()
}

async fn page(house: &House, query: &EventQuery) -> EventPage {
    house.store.events.event_page(house.team.id, query.clone()).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pages_one_after_the_other_are_the_whole_list(
        history in prop::collection::vec(told(), 1..40),
        later in prop::collection::vec(told(), 0..4),
        wishes in prop::collection::vec((wishes(), 1_u32..7), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let mut sandboxes = sandboxes(&house).await;
            let mut log = Vec::new();
            for told in &history {
                log.push(tell(&house, &mut sandboxes, told).await);
            }
            let mut later = later.iter();
            for ((of, mut filter), limit) in wishes {
                filter.sandbox_id = of.map(|n| sandboxes[n].id.clone());
                for order in [Order::Asc, Order::Desc] {
                    let mut wanted: Vec<Event> =
                        log.iter().filter(|event| filter.matches(event)).cloned().collect();
                    if order == Order::Desc {
                        wanted.reverse();
                    }
                    let mut query = EventQuery { filter: filter.clone(), limit, order, ..EventQuery::default() };
                    let half = u32::try_from(wanted.len() / 2).unwrap();
                    let skipping = EventQuery { offset: half, limit: 100, ..query.clone() };
                    assert_eq!(page(&house, &skipping).await.events, wanted[half as usize..]);
                    let mut seen = Vec::new();
                    loop {
                        let page = page(&house, &query).await;
                        assert!(page.events.len() <= limit as usize && page.lost.is_none());
                        seen.extend(page.events);
                        query.position = Some(page.position);
                        // Somebody is always writing: oldest first it is read at the end, newest first never.
                        if let Some(told) = later.next() {
                            let event = tell(&house, &mut sandboxes, told).await;
                            if order == Order::Asc && filter.matches(&event) {
                                wanted.push(event.clone());
                            }
                            log.push(event);
                        } else if !page.has_more && (order == Order::Desc || page.position == log.len() as u64) {
                            break;
                        }
                    }
                    assert_eq!(seen, wanted, "{filter:?} {order:?}");
                }
            }
            house.store.close().await;
        });
    }
}

/// Fills the log up to number `n`, past the store.
fn fill(house: &House, n: u32) {
    let connection = rusqlite::Connection::open(house.dir.path().join("facts.sqlite")).unwrap();
    connection
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             INSERT INTO events (team_no, sequence, id, event_type, sandbox_id, execution_id, template_id,
                 build_id, timestamp, data)
             SELECT e.team_no, n, randomblob(16), 3, e.sandbox_id, e.execution_id, e.template_id, e.build_id,
                 e.timestamp + n * 1000000,
                 json_set(e.data, '$.set_timeout', '2026-01-01T00:00:00Z')
             FROM n, events e WHERE e.sequence = 1",
            [n],
        )
        .unwrap();
    connection
        .execute_batch(
            "DELETE FROM event_blocks;
             INSERT INTO event_blocks SELECT team_no, sequence / 4096, MIN(timestamp), MAX(timestamp) FROM events
                 GROUP BY 1, 2;
             UPDATE teams SET last_sequence = (SELECT MAX(sequence) FROM events);",
        )
        .unwrap();
}

#[tokio::test]
async fn a_page_looks_at_so_many_events_and_says_where_to_go_on() {
    let house = House::new().await;
    let mut first = house.running(0).await;
    fill(&house, 3 * MAX_EXAMINED);
    let last = house.update(&mut first, i64::from(3 * MAX_EXAMINED + 1)).await;
    let filter =
        EventFilter { metadata: vec![("no".to_owned(), "such".to_owned())], ..EventFilter::default() };
    for order in [Order::Asc, Order::Desc] {
        let mut query = EventQuery { filter: filter.clone(), limit: 10, order, ..EventQuery::default() };
        let mut n_pages = 0;
        loop {
            let page = page(&house, &query).await;
            assert!(page.events.is_empty());
            n_pages += 1;
            query.position = Some(page.position);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(n_pages, 4, "{order:?}");
        assert_eq!(query.position, Some(if order == Order::Asc { last } else { 0 }));
    }
    // A time is found by its block, not by looking at everything before it.
    let late = EventFilter { start: Some(at(14_000)), end: Some(at(14_003)), ..EventFilter::default() };
    for order in [Order::Asc, Order::Desc] {
        let query = EventQuery { filter: late.clone(), limit: 10, order, ..EventQuery::default() };
        assert_eq!(page(&house, &query).await.events.len(), 3, "{order:?}");
    }
}

#[tokio::test]
async fn what_retention_removed_is_named_and_not_passed_over_in_silence() {
    let house = House::new().await;
    let mut sandbox = house.running(0).await;
    for second in 1..10 {
        house.update(&mut sandbox, second).await;
    }
    let day = 24 * 3600;
    house.store.facts.delete_expired(at(7 * day + 4)).await.unwrap();
    assert_eq!(house.store.events.log_bounds(house.team.id).await.unwrap(), (5, 10));
    let ascending = |position| EventQuery { position, limit: 3, order: Order::Asc, ..EventQuery::default() };
    for (position, lost) in [(None, Some(1..=4)), (Some(2), Some(3..=4)), (Some(4), None), (Some(7), None)] {
        let page = page(&house, &ascending(position)).await;
        assert_eq!(page.lost, lost, "{position:?}");
        assert_eq!(page.events[0].sequence, position.unwrap_or(0).max(4) + 1);
    }
    house.store.facts.delete_expired(at(8 * day)).await.unwrap();
    assert_eq!(house.store.events.log_bounds(house.team.id).await.unwrap(), (11, 10));
    let page = page(&house, &ascending(Some(7))).await;
    assert_eq!((page.lost, page.position, page.events.len()), (Some(8..=10), 10, 0));
    let nobody = house.store.events.event_page(team("nobody").id, ascending(None)).await;
    assert_eq!(nobody, Err(StoreError::UnknownTeam));
}

/// Labels had no bound once, and what was stored then is still there.
#[tokio::test]
async fn pages_end_at_a_bound_in_bytes_as_well_and_skip_nothing() {
    let house = House::new().await;
    let mut sandbox = sandbox(&house.team, 0);
    sandbox.spec.metadata = BTreeMap::from([("k".to_owned(), "x".repeat(1024 * 1024))]);
    house.store.facts.admit_sandbox(&sandbox, 100, None).await.unwrap();
    let mut log = Vec::new();
    for second in 0..10 {
        let draft = draft(&sandbox, EventType::Updated, at(second));
        let change = Change { sandbox: sandbox.clone(), event: Some(draft), snapshot: None };
        sandbox.generation += 1;
        log.push(house.store.facts.commit(change).await.unwrap().unwrap().sequence);
    }
    for order in [Order::Asc, Order::Desc] {
        let mut query = EventQuery { limit: 100, order, ..EventQuery::default() };
        let mut seen = Vec::new();
        loop {
            let page = page(&house, &query).await;
            assert!(page.events.len() <= 4, "{} events of a mebibyte at once", page.events.len());
            seen.extend(page.events.iter().map(|event| event.sequence));
            query.position = Some(page.position);
            if !page.has_more {
                break;
            }
        }
        if order == Order::Desc {
            seen.reverse();
        }
        assert_eq!(seen, log);
    }
    let first = house.store.events.stretch_after(house.team.id, 0, 100).await.unwrap();
    assert!(first.more && first.events.len() <= 4);
    let rest = house.store.events.stretch_after(house.team.id, log[7], 100).await.unwrap();
    assert!(!rest.more && rest.events.len() == 2);
}
