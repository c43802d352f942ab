//! The queries that must stay fast however much is stored use their indexes.

use rusqlite::types::ToSql;
use rusqlite::{Connection, params_from_iter};
use sandscope_model::{EventType, TeamId, Timestamp};

use crate::attempts::{AttemptQuery, STATS};
use crate::migrations::{ATTEMPTS, FACTS, SAMPLES, Schema, migrate};
use crate::{EventQuery, ListedState, Order, SandboxFilter, attempts, events, sandboxes};

fn empty(schema: &Schema) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, schema).unwrap();
    connection
}

/// What SQLite means to do, one step a line.
fn plan(connection: &Connection, sql: &str, values: Option<&[Box<dyn ToSql>]>) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // A plan does not depend on values; a query with numbered parameters gets none.
    let steps = |row: &rusqlite::Row<'_>| row.get("detail");
    let values = values.unwrap_or_default();
    if values.is_empty() {
        statement.raw_query().mapped(steps).collect::<Result<_, _>>().unwrap()
    } else {
        statement.query_map(params_from_iter(values), steps).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

fn assert_indexed(plan: &[String], index: &str) {
    assert!(plan.iter().any(|step| step.contains(index)), "{index} is not used: {plan:#?}");
    for step in plan {
        assert!(!step.starts_with("SCAN") && !step.contains("TEMP B-TREE"), "{plan:#?}");
    }
}

fn id<T: From<uuid::Uuid>>() -> T {
    uuid::Uuid::from_u128(1).into()
}

#[test]
fn the_newest_events_are_at_the_end_of_an_index() {
    let connection = empty(&FACTS);
    for order in [Order::Asc, Order::Desc] {
        let all = EventQuery { sandbox_id: None, types: Vec::new(), offset: 0, limit: 10, order };
        assert_indexed(&plan(&connection, &events::query_sql(&all), None), "PRIMARY KEY (team_no=?)");
        let one = EventQuery { types: vec![EventType::Killed], ..all.clone() };
        let one_plan = plan(&connection, &events::query_sql(&one), None);
        assert!(one_plan.iter().any(|step| step.contains("events_by_type (team_no=? AND event_type=?)")));
        let several = EventQuery { types: vec![EventType::Killed, EventType::Paused], ..all.clone() };
        let several_plan = plan(&connection, &events::query_sql(&several), None);
        assert!(several_plan.iter().all(|step| !step.starts_with("SCAN events")), "{several_plan:#?}");
        let sandbox_id = Some("i00000000000000000000".parse().unwrap());
        let of_sandbox = EventQuery { sandbox_id, types: vec![EventType::Killed], ..all };
        assert_indexed(&plan(&connection, &events::query_sql(&of_sandbox), None), "events_by_sandbox");
    }
}

#[test]
fn lists_of_sandboxes_walk_an_index_in_their_order() {
    let connection = empty(&FACTS);
    let team: TeamId = id();
    let at = Timestamp::UNIX_EPOCH;
    for order in [Order::Asc, Order::Desc] {
        for states in [vec![], vec![ListedState::Running], vec![ListedState::Paused]] {
            let after = Some((at, "i00000000000000000000".parse().unwrap()));
            for after in [None, after] {
                let metadata = vec![("a".to_owned(), "b".to_owned())];
                let states = states.clone();
                let filter =
                    SandboxFilter { states, order, after, metadata, limit: 10, ..SandboxFilter::default() };
                let query = sandboxes::list_query(team, &filter);
                let mut steps = plan(&connection, &query.sql, Some(&query.values));
                // The labels of one row.
                steps.retain(|step| !step.starts_with("SCAN json_each"));
                assert_indexed(&steps, "sandboxes_listed");
            }
        }
    }
}

#[test]
fn attempts_and_samples_are_found_by_index() {
    let connection = empty(&ATTEMPTS);
    let query = AttemptQuery {
        cursor: Some((Timestamp::UNIX_EPOCH, id())),
        limit: 10,
        order: Order::Desc,
        start: Some(Timestamp::UNIX_EPOCH),
        end: None,
        success: Some(false),
        types: Vec::new(),
    };
    let (sql, values) = attempts::list_query(id(), id(), &query);
    assert_indexed(&plan(&connection, &sql, Some(&values)), "attempts_by_webhook");
    let stats = plan(&connection, STATS, None);
    assert!(stats[0].contains("USING COVERING INDEX attempts_by_webhook"), "{stats:#?}");

    let connection = empty(&SAMPLES);
    for step in [None, Some(1)] {
        let steps = plan(&connection, &crate::samples::range_sql(step), None);
        assert!(
            steps.iter().any(|step| step.contains("PRIMARY KEY (series=? AND at>? AND at<?)")),
            "{steps:#?}"
        );
        assert!(steps.iter().all(|step| !step.starts_with("SCAN")), "{steps:#?}");
    }
}
