use super::*;
use crate::{EventDraft, ExecutionSummary, KillReason, OomKills, Subject};

const SANDBOX: &str = "i0123456789abcdefghij";

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// Event `sequence` of execution `execution`, at second `sequence`.
fn event(sequence: u64, execution: u128, fact: Fact) -> Event {
    let uuid = uuid::Uuid::from_u128;
    let ms = i64::try_from(sequence).unwrap() * 1000;
    let sandbox = SandboxRef {
        id: SANDBOX.parse().unwrap(),
        execution_id: uuid(execution).into(),
        template_id: "rki5dems9wqfm4r03t7g".parse().unwrap(),
        build_id: uuid(3).into(),
        metadata: [].into(),
    };
    Event {
        sequence,
        draft: EventDraft {
            id: uuid(u128::from(sequence)).into(),
            team_id: uuid(4).into(),
            timestamp: at(ms),
            subject: Subject::Sandbox(sandbox),
            origin: None,
            fact,
        },
    }
}

fn ran(started_ms: i64, execution_time_ms: u64) -> ExecutionSummary {
    ExecutionSummary { started_at: at(started_ms), vcpu_count: 1, memory_mb: 1, execution_time_ms }
}

fn paused(started_ms: i64, execution_time_ms: u64) -> Fact {
    Fact::Paused { execution: ran(started_ms, execution_time_ms) }
}

fn killed(execution: Option<ExecutionSummary>) -> Fact {
    Fact::Killed(Death { execution, ..Death::of(KillReason::Request) })
}

const fn oom(n_new: u64, n_total: u64) -> Fact {
    Fact::OutOfMemory(OomKills { n_new, n_total })
}

fn complaints(history: &mut History, events: &[Event]) -> Vec<String> {
    events.iter().flat_map(|event| history.push(event)).map(|complaint| complaint.what).collect()
}

#[test]
fn a_whole_life_folds_to_its_state() {
    let mut history = History::after(0);
    let events = [
        event(1, 1, Fact::Created),
        event(2, 1, oom(2, 2)),
        event(3, 1, paused(500, 2500)),
        event(4, 1, oom(1, 3)),
        event(5, 2, Fact::Resumed),
    ];
    assert_eq!(complaints(&mut history, &events), [""; 0]);
    let logged = &history.sandboxes()[&SANDBOX.parse().unwrap()];
    assert_eq!((logged.state, logged.n_oom_kills), (StateName::Running, Some(3)));
    let end = event(6, 2, killed(Some(ran(5000, 1000))));
    assert_eq!(complaints(&mut history, &[end]), [""; 0]);
    assert_eq!(history.sandboxes()[&SANDBOX.parse().unwrap()].state, StateName::Killed);
    assert_eq!(history.last_sequence(), 6);
}

#[test]
fn what_contradicts_itself_is_named_once() {
    let cases = [
        (event(3, 1, paused(1000, 2000)), "number should be 2"),
        (event(2, 2, Fact::Resumed), "cannot follow running"),
        (event(2, 9, paused(1000, 1000)), "another execution"),
        (event(2, 1, paused(1000, 1001)), "took 1000 ms, it says 1001"),
        (event(2, 1, killed(None)), "cannot follow running"),
        (event(2, 1, oom(1, 2)), "0 kills were recorded before"),
    ];
    for (second, expected) in cases {
        let mut history = History::after(0);
        let first = event(1, 1, Fact::Created);
        let found = complaints(&mut history, &[first, second.clone()]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?} should say {expected}");
    }
    let mut history = History::after(0);
    let twice = Event { sequence: 2, ..event(1, 1, Fact::Created) };
    let found = complaints(&mut history, &[event(1, 1, Fact::Created), twice]);
    assert!(found.iter().any(|what| what.contains("recorded before")), "{found:?}");
}

#[test]
fn where_the_beginning_was_removed_a_sandbox_may_begin_with_any_event() {
    let mut history = History::after(40);
    let events = [event(41, 1, paused(40_500, 500)), event(42, 2, Fact::Resumed)];
    assert_eq!(complaints(&mut history, &events), [""; 0]);
    assert_eq!(history.sandboxes().len(), 1);
    let mut whole = History::after(0);
    let early = event(1, 1, paused(500, 500));
    assert_eq!(complaints(&mut whole, &[early]).len(), 1);
}
