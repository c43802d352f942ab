//! The queries that must stay fast however much is stored use their indexes.

use rusqlite::types::ToSql;
use rusqlite::{Connection, params_from_iter};
use sandscope_model::{EventFilter, EventType, KillReason, TeamId, Timestamp};

use crate::attempts::AttemptQuery;
use crate::attempts::rows as attempts;
use crate::attempts::rows::{LAST_SUCCESS, STATS};
use crate::facts::{event_pages, ledger, sandboxes};
use crate::sqlite::migrations::{ATTEMPTS, FACTS, LOGS, SAMPLES, Schema, migrate};
use crate::{ListedState, Order, SandboxFilter};

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
    let any = EventFilter::default();
    let sandbox_id = Some("i00000000000000000000".parse().unwrap());
    let template_id = Some("t0000000000000000000".parse().unwrap());
    let types = vec![EventType::Killed, EventType::Paused, EventType::Created];
    let reasons = vec![KillReason::Oom, KillReason::Timeout];
    let range = "(team_no=? AND sequence>? AND sequence<?)";
    for order in [Order::Asc, Order::Desc] {
        for (filter, index, column) in [
            (any.clone(), "PRIMARY KEY", None),
            (EventFilter { types: EventType::listed().collect(), ..any.clone() }, "PRIMARY KEY", None),
            (
                EventFilter { types: vec![EventType::Killed], ..any.clone() },
                "events_by_type",
                Some("event_type"),
            ),
            (EventFilter { types: types.clone(), ..any.clone() }, "events_by_type", Some("event_type")),
            (
                EventFilter { reasons: reasons.clone(), types: types.clone(), ..any.clone() },
                "events_by_reason",
                Some("kill_reason"),
            ),
            (
                EventFilter { template_id: template_id.clone(), ..any.clone() },
                "events_by_template",
                Some("template_id"),
            ),
            (
                EventFilter { sandbox_id: sandbox_id.clone(), types: types.clone(), ..any.clone() },
                "events_by_sandbox",
                Some("sandbox_id"),
            ),
        ] {
            let steps = plan(&connection, &event_pages::sql(&filter, order), None);
            let range = column.map_or_else(
                || range.to_owned(),
                |name| {
                    range.replace(" AND", &format!(" AND {name}=? AND")).replacen(
                        &format!(" AND {name}=? AND sequence<"),
                        " AND sequence<",
                        1,
                    )
                },
            );
            assert_indexed(&steps, &format!("{index} {range}"));
        }
    }
    let next = plan(&connection, ledger::NEXT_OF_LOG, None);
    assert_indexed(&next, "events_by_sandbox (team_no=? AND sandbox_id>?)");
    let of_sandbox = plan(&connection, &ledger::of_sandbox_before(), None);
    assert_indexed(&of_sandbox, "events_by_sandbox (team_no=? AND sandbox_id=? AND sequence<?)");
    let blocks = plan(&connection, event_pages::BLOCKS, None);
    assert_indexed(&blocks, "PRIMARY KEY (team_no=?)");
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

    let last = plan(&connection, LAST_SUCCESS, None);
    assert!(last[0].contains("USING COVERING INDEX attempts_by_webhook"), "{last:#?}");

    let connection = empty(&SAMPLES);
    assert_indexed(
        &plan(&connection, &crate::samples::series::rows_sql(), None),
        "PRIMARY KEY (series=? AND at>? AND at<?)",
    );
    assert_indexed(
        &plan(&connection, crate::samples::sealed::BLOCKS_IN_RANGE, None),
        "blocks_by_series (series=? AND level=? AND first_at>? AND first_at<?)",
    );

    let connection = empty(&LOGS);
    for order in [Order::Asc, Order::Desc] {
        assert_indexed(
            &plan(&connection, &crate::logs::streams::query_sql(order), None),
            "entries_by_stream",
        );
    }
    assert_indexed(
        &plan(&connection, crate::logs::exports::AFTER, None),
        "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)",
    );
}
