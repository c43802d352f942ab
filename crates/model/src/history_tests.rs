use super::*;
use crate::{EventData, EventDraft, ExecutionSummary, KillReason, OomKills};

const SANDBOX: &str = "i0123456789abcdefghij";

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// Event `sequence` of execution `execution`, at second `sequence`.
fn event(sequence: u64, event_type: EventType, execution: u128, data: EventData) -> Event {
    let uuid = uuid::Uuid::from_u128;
    let ms = i64::try_from(sequence).unwrap() * 1000;
    Event {
        sequence,
        draft: EventDraft {
            id: uuid(u128::from(sequence)).into(),
            event_type,
            data,
            sandbox_id: SANDBOX.parse().unwrap(),
            execution_id: uuid(execution).into(),
            template_id: "rki5dems9wqfm4r03t7g".parse().unwrap(),
            build_id: uuid(3).into(),
            team_id: uuid(4).into(),
            timestamp: at(ms),
        },
    }
}

fn ran(started_ms: i64, execution_time_ms: u64) -> EventData {
    let execution =
        ExecutionSummary { started_at: at(started_ms), vcpu_count: 1, memory_mb: 1, execution_time_ms };
    EventData { execution: Some(execution), ..EventData::default() }
}

fn killed(data: EventData) -> EventData {
    EventData { kill_reason: Some(KillReason::Request), ..data }
}

fn oom(n_new: u64, n_total: u64) -> EventData {
    EventData { oom_kills: Some(OomKills { n_new, n_total }), ..EventData::default() }
}

fn complaints(history: &mut History, events: &[Event]) -> Vec<String> {
    events.iter().flat_map(|event| history.push(event)).map(|complaint| complaint.what).collect()
}

#[test]
fn a_whole_life_folds_to_its_state() {
    let mut history = History::after(0);
    let events = [
        event(1, EventType::Created, 1, EventData::default()),
        event(2, EventType::OutOfMemory, 1, oom(2, 2)),
        event(3, EventType::Paused, 1, ran(500, 2500)),
        event(4, EventType::OutOfMemory, 1, oom(1, 3)),
        event(5, EventType::Resumed, 2, EventData::default()),
    ];
    assert_eq!(complaints(&mut history, &events), [""; 0]);
    let told = &history.told()[&SANDBOX.parse().unwrap()];
    assert_eq!((told.state, told.n_oom_kills), (StateName::Running, Some(3)));
    let end = event(6, EventType::Killed, 2, killed(ran(5000, 1000)));
    assert_eq!(complaints(&mut history, &[end]), [""; 0]);
    assert_eq!(history.told()[&SANDBOX.parse().unwrap()].state, StateName::Killed);
    assert_eq!(history.last_sequence(), 6);
}

#[test]
fn what_contradicts_itself_is_named_once() {
    let cases = [
        (event(3, EventType::Paused, 1, ran(1000, 2000)), "number should be 2"),
        (event(2, EventType::Resumed, 2, EventData::default()), "cannot follow running"),
        (event(2, EventType::Paused, 9, ran(1000, 1000)), "another execution"),
        (event(2, EventType::Paused, 1, ran(1000, 999)), "took 1000 ms, it says 999"),
        (event(2, EventType::Killed, 1, killed(EventData::default())), "cannot follow running"),
        (event(2, EventType::OutOfMemory, 1, oom(1, 2)), "0 kills were told before"),
    ];
    for (second, expected) in cases {
        let mut history = History::after(0);
        let first = event(1, EventType::Created, 1, EventData::default());
        let found = complaints(&mut history, &[first, second.clone()]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?} should say {expected}");
    }
    let mut history = History::after(0);
    let twice = Event { sequence: 2, ..event(1, EventType::Created, 1, EventData::default()) };
    let found = complaints(&mut history, &[event(1, EventType::Created, 1, EventData::default()), twice]);
    assert!(found.iter().any(|what| what.contains("told before")), "{found:?}");
}

#[test]
fn where_the_beginning_was_removed_a_sandbox_may_begin_with_any_event() {
    let mut history = History::after(40);
    let events = [
        event(41, EventType::Paused, 1, ran(40_500, 500)),
        event(42, EventType::Resumed, 2, EventData::default()),
    ];
    assert_eq!(complaints(&mut history, &events), [""; 0]);
    assert_eq!(history.told().len(), 1);
    let mut whole = History::after(0);
    let early = event(1, EventType::Paused, 1, ran(500, 500));
    assert_eq!(complaints(&mut whole, &[early]).len(), 1);
}
