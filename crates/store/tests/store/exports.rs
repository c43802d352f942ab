//! Exports: where they begin, and that nothing is passed over.

use std::collections::BTreeMap;

use sandscope_model::{LogEntry, LogLevel, LogSource, TeamId};
use sandscope_store::{LogBatch, Store};

use crate::support::{House, at, sandbox_id};

async fn write(store: &Store, message: &str) {
    let entry = LogEntry {
        at: at(0),
        level: LogLevel::Warn,
        source: LogSource::Stderr,
        pid: Some(7),
        event_type: None,
        message: message.to_owned(),
    };
    let batch = LogBatch { sandbox_id: sandbox_id(), entries: vec![entry], taken_upto: None };
    store.logs.append_logs(batch).await.unwrap();
}

#[tokio::test]
async fn logs_are_exported_from_the_moment_somebody_wants_them() {
    let store = House::new().await.store;
    write(&store, "before").await;
    let begun = store.logs.begin_log_export().await.unwrap();
    assert_eq!(begun, store.logs.newest_log().await.unwrap());
    write(&store, "one").await;
    write(&store, "two").await;
    // Asked again without having moved: still owed.
    assert_eq!(store.logs.begin_log_export().await.unwrap(), begun);
    let owed = store.logs.logs_after(begun, 10).await.unwrap();
    let words: Vec<&str> = owed.iter().map(|numbered| numbered.entry.message.as_str()).collect();
    assert_eq!(words, ["one", "two"]);
    assert_ne!(owed[0].sandbox_id, owed[1].sandbox_id);
    assert_eq!(store.logs.logs_after(begun, 1).await.unwrap(), owed[..1]);
    store.logs.move_log_export(owed[0].no).await.unwrap();
    assert_eq!(store.logs.begin_log_export().await.unwrap(), owed[0].no);
    // A cursor beyond everything: the numbers have started over, and what is there was never exported.
    store.logs.move_log_export(1_000_000).await.unwrap();
    assert_eq!(store.logs.begin_log_export().await.unwrap(), 0);
}

async fn begin(store: &Store) -> BTreeMap<TeamId, u64> {
    let ends = store.events.ends().await.unwrap();
    store.logs.begin_event_export(ends).await.unwrap()
}

#[tokio::test]
async fn events_are_exported_from_the_first_start_on_and_those_of_later_teams_from_their_first() {
    let house = House::new().await;
    house.running(0).await;
    let begun = begin(&house.store).await;
    assert_eq!(begun[&house.team.id], 1, "what was before is history");
    house.running(0).await;
    let other = house.other_team("other").await;
    let again = begin(&house.store).await;
    assert_eq!((again[&house.team.id], again[&other.id]), (1, 0));
    house.store.logs.move_event_export(house.team.id, 2).await.unwrap();
    assert_eq!(begin(&house.store).await[&house.team.id], 2);
}
