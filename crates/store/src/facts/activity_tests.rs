//! What is answered from blocks is what the events say, one by one.

use proptest::prelude::*;
use rusqlite::Connection;
use sandscope_model::{
    Activity, EventDraft, EventType, ExecutionSummary, Fact, SandboxRef, TeamId, Timestamp,
};

use super::{TeamActivity, activity};
use crate::facts::activity_blocks::{CHANGES, TOP, changes, cut, insert, next, read};
use crate::facts::events::append;
use crate::sqlite::migrations::{FACTS, migrate};

const BASE_S: i64 = 1_790_000_000;

fn team() -> TeamId {
    uuid::Uuid::from_u128(7).into()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(BASE_S * 1_000 + ms).unwrap()
}

/// A team's log: type, time, and whether something ran until then.
fn log(events: &[(EventType, i64, bool)]) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, &FACTS).unwrap();
    let insert = "INSERT INTO teams VALUES (1, ?, 'n', 's', 1, 1, 1, 1, 0, 0, NULL, NULL)";
    connection.execute(insert, [team().as_uuid().as_bytes()]).unwrap();
    append_all(&connection, events);
    connection
}

fn append_all(connection: &Connection, events: &[(EventType, i64, bool)]) {
    let transaction = connection.unchecked_transaction().unwrap();
    for (n, (event_type, ms, ran)) in events.iter().enumerate() {
        let summary =
            ExecutionSummary { started_at: at(0), vcpu_count: 1, memory_mb: 1, execution_time_ms: 1 };
        let sandbox = SandboxRef {
            id: "i00000000000000000001".parse().unwrap(),
            execution_id: uuid::Uuid::from_u128(1).into(),
            template_id: "t0000000000000000000".parse().unwrap(),
            build_id: uuid::Uuid::from_u128(1).into(),
            metadata: [].into(),
        };
        let ids = (uuid::Uuid::from_u128(n as u128).into(), team());
        let mut draft = EventDraft::example(*event_type, ids, sandbox, at(*ms));
        if let Fact::Killed(death) = &mut draft.fact {
            death.execution = ran.then_some(summary);
        }
        append(&transaction, 1, draft).unwrap();
    }
    transaction.commit().unwrap();
}

fn sum_up(connection: &Connection) {
    for level in 1..=TOP {
        while let Some(batch) = next(connection, 1, level).unwrap() {
            insert(connection, batch).unwrap();
        }
    }
}

/// Every change, one by one.
fn naive(connection: &Connection, (start, end): (Timestamp, Timestamp), step_s: u32) -> TeamActivity {
    let mut one_by_one = Activity::new(start, end, step_s, 0, 10_000);
    for (_, change) in changes(connection, 1, (0, i64::MAX)).unwrap().into_iter().rev() {
        one_by_one.take(change);
    }
    let (points, peak) = one_by_one.finish();
    TeamActivity { points, peak }
}

fn events() -> impl Strategy<Value = Vec<(EventType, i64, bool)>> {
    let event_type = prop_oneof![
        4 => Just(EventType::Created),
        4 => Just(EventType::Killed),
        1 => Just(EventType::Paused),
        1 => Just(EventType::Resumed),
        2 => Just(EventType::Updated),
    ];
    // Mostly onwards, now and then back.
    let elapsed = prop_oneof![20 => 0_i64..4_000, 1 => -9_000_i64..0, 1 => 0_i64..600_000];
    proptest::collection::vec((event_type, elapsed, any::<bool>()), 0..2_500).prop_map(|events| {
        let mut ms = 0;
        events
            .into_iter()
            .map(|(event_type, elapsed, ran)| {
                ms += elapsed;
                (event_type, ms, ran)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn blocks_answer_what_the_events_say(
        events in events(),
        later in events(),
        ranges in proptest::collection::vec((0_i64..3_000_000, 0_i64..9_000_000), 1..6),
        step_s in prop_oneof![Just(5_u32), Just(60), Just(900)],
        cut_part in 0_usize..100,
    ) {
        let connection = log(&events);
        sum_up(&connection);
        // And some that are not summed up yet.
        let offset = events.last().map_or(0, |(_, ms, _)| *ms);
        let later: Vec<_> =
            later.iter().take(100).map(|(event_type, ms, ran)| (*event_type, offset + ms, *ran)).collect();
        append_all(&connection, &later);
        for (start, length) in ranges {
            let range = (at(start), at(start + length));
            let found = activity(&connection, team(), range, step_s, 10_000).unwrap();
            prop_assert_eq!(found, naive(&connection, range, step_s));
        }
        // Retention cuts the beginning, somewhere.
        let last = i64::try_from(events.len() * cut_part / 100).unwrap();
        connection.execute("DELETE FROM events WHERE sequence <= ?", [last]).unwrap();
        cut(&connection, 1, last).unwrap();
        sum_up(&connection);
        let range = (at(0), at(9_000_000));
        let found = activity(&connection, team(), range, step_s, 10_000).unwrap();
        prop_assert_eq!(found, naive(&connection, range, step_s));
    }
}

#[test]
fn a_part_of_the_log_is_read_in_its_order() {
    let connection = log(&[]);
    let plan: Vec<String> = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {CHANGES}"))
        .unwrap()
        .raw_query()
        .mapped(|row| row.get("detail"))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(plan, ["SEARCH events USING PRIMARY KEY (team_no=? AND sequence>? AND sequence<?)"]);
}

#[test]
fn every_level_is_made_once_and_whole() {
    let events: Vec<_> = (0..33_000).map(|n| (EventType::Created, n, false)).collect();
    let connection = log(&events);
    sum_up(&connection);
    let n = |level| read(&connection, 1, level, (0, i64::MAX)).unwrap().len();
    assert_eq!([n(1), n(2), n(3)], [1_031, 32, 1]);
    assert!(next(&connection, 1, 1).unwrap().is_none());
}
