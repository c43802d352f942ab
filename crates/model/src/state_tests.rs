use proptest::prelude::*;

use super::*;
use crate::ledger::{Usage, Window};
use crate::{EventType, Sandbox};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn execution(n: u128, started_ms: i64) -> Execution {
    Execution {
        id: uuid::Uuid::from_u128(n).into(),
        started_at: at(started_ms),
        vcpu_count: 2,
        memory_mb: 512,
        span: None,
    }
}

fn any_transition() -> impl Strategy<Value = Transition> {
    let ms = 0_i64..1_000_000;
    prop_oneof![
        Just(Transition::Created),
        Just(Transition::PauseRequested),
        ms.clone().prop_map(|ms| Transition::Paused { at: at(ms) }),
        Just(Transition::PauseFailed),
        (any::<u128>(), ms.clone())
            .prop_map(|(n, ms)| Transition::ResumeRequested { execution: execution(n, ms) }),
        Just(Transition::Resumed),
        Just(Transition::ResumeFailed),
        Just(Transition::KillRequested { reason: KillReason::Request, cause: None }),
        ms.clone().prop_map(|ms| Transition::Ended { exit: None, at: at(ms) }),
        ms.prop_map(|ms| Transition::Died { reason: KillReason::Crashed, exit: None, at: at(ms) }),
    ]
}

#[test]
fn a_whole_life_leaves_one_event_for_each_fact() {
    let steps = [
        (Transition::Created, Some(EventType::Created)),
        (Transition::PauseRequested, None),
        (Transition::Paused { at: at(1_500) }, Some(EventType::Paused)),
        (Transition::ResumeRequested { execution: execution(2, 3_000) }, None),
        (Transition::Resumed, Some(EventType::Resumed)),
        (Transition::KillRequested { reason: KillReason::Timeout, cause: None }, None),
        (Transition::Ended { exit: None, at: at(3_250) }, Some(EventType::Killed)),
    ];
    let mut state = State::Creating { execution: execution(1, 500) };
    let mut times = Vec::new();
    for (transition, expected) in steps {
        let (next, event) = state.apply(transition).unwrap();
        times.extend(event.iter().filter_map(|fact| fact.ended_execution().map(|e| e.execution_time_ms)));
        assert_eq!(event.map(|fact| fact.event_type()), expected);
        state = next;
    }
    assert_eq!(times, [1_000, 250]);
    assert_eq!(state.name(), StateName::Killed);
}

#[test]
fn killing_a_paused_sandbox_is_told_but_counts_no_time() {
    let last_execution_id = uuid::Uuid::from_u128(7).into();
    let paused = Paused { paused_at: at(10), last_execution_id, left_ms: None };
    let (state, none) = State::Paused { paused }
        .apply(Transition::KillRequested { reason: KillReason::Request, cause: None })
        .unwrap();
    assert_eq!(none, None);
    let (_, event) = state.apply(Transition::Ended { exit: None, at: at(99) }).unwrap();
    assert_eq!(event, Some(Fact::Killed(Death::of(KillReason::Request))));
}

#[test]
fn a_clock_that_went_backwards_counts_as_no_time() {
    let summary = ExecutionSummary::new(&execution(1, 5_000), at(4_000));
    assert_eq!(summary.execution_time_ms, 0);
}

proptest! {
    /// Whatever is tried in whatever order: events alternate as a reader of the log expects, and nothing follows
    /// `killed`.
    #[test]
    fn the_log_of_any_history_is_well_formed(transitions in prop::collection::vec(any_transition(), 0..60)) {
        let mut state = State::Creating { execution: execution(1, 0) };
        let mut log = Vec::new();
        for transition in transitions {
            match state.apply(transition) {
                Ok((next, event)) => {
                    log.extend(event.map(|fact| fact.event_type()));
                    state = next;
                }
                Err(denied) => prop_assert_eq!(denied.state, state.name()),
            }
        }
        let mut running = None;
        for event_type in log {
            running = match (running, event_type) {
                (None, EventType::Created) => Some(true),
                (Some(true), EventType::Paused) => Some(false),
                (Some(false), EventType::Resumed) => Some(true),
                (Some(_), EventType::Killed) => None,
                (before, event_type) => panic!("{event_type} while running was {before:?}"),
            };
            if event_type == EventType::Killed {
                prop_assert_eq!(state.name(), StateName::Killed);
            }
        }
    }
}

/// Time that passes, and by how far the wall clock is set meanwhile.
fn stamp(uptime_s: u64, at_s: i64) -> Stamp {
    let boot = BootId::from(uuid::Uuid::from_u128(1));
    Stamp { at: at(at_s * 1_000), boot, uptime: Uptime::new(Duration::from_secs(uptime_s)) }
}

#[test]
fn an_execution_took_what_passed_on_the_host_however_the_wall_clock_was_set() {
    let began = stamp(50, 100_000);
    let mut execution = execution(1, began.at.as_millisecond());
    execution.end_at(began.uptime.after(Duration::from_secs(3_600)), began);
    let window = Window { start_ms: i64::MIN / 2, end_ms: i64::MAX / 2 };
    // After ten minutes: nobody set it, back by an hour, by ten minutes, forward by two hours.
    for (step_s, started_s) in [(0, 100_000), (-3_600, 96_400), (-600, 99_400), (7_200, 100_000)] {
        let ended = stamp(650, 100_600 + step_s);
        let (_, fact) = State::Pausing { execution: execution.clone() }
            .apply(Transition::Paused { at: ended.at })
            .unwrap();
        let mut fact = fact.unwrap();
        fact.correct_execution(&execution, ended);
        let summary = fact.ended_execution().unwrap();
        assert_eq!(
            (summary.execution_time_ms, summary.started_at),
            (600_000, at(started_s * 1_000)),
            "{step_s}"
        );
        let (mut open, mut closed) = (Usage::default(), Usage::default());
        open.add_open(
            &execution,
            Window { end_ms: ended.at.as_millisecond().max(100_600_000), ..window },
            ended,
        );
        closed.add_ended(summary, window);
        assert_eq!((open.execution_ms, closed.execution_ms), (600_000, 600_000), "{step_s}");
    }
    // After a reboot only the wall clock is left to go by.
    let elsewhere = Stamp { boot: BootId::from(uuid::Uuid::from_u128(2)), ..stamp(5, 100_700) };
    assert_eq!(execution.ran_over_step(elsewhere), None);
}

#[test]
fn what_is_left_of_a_sandbox_stays_when_the_wall_clock_is_set() {
    let began = stamp(50, 100_000);
    let due = began.uptime.after(Duration::from_secs(300));
    let mut execution = execution(1, began.at.as_millisecond());
    execution.end_at(due, began);
    let ids = (
        "i0123456789abcdefghij".parse().unwrap(),
        uuid::Uuid::from_u128(1).into(),
        "0123456789abcdefghij".parse().unwrap(),
    );
    let mut sandbox = Sandbox::example(ids, State::Running { execution }, began.at);
    sandbox.end_at = began.label(due);
    assert_eq!(sandbox.end_label(stamp(60, 100_010)), at(100_300_000));
    for step_s in [-3_600, 7_200, -600] {
        let later = stamp(150, 100_100 + step_s);
        assert_eq!(sandbox.due(later), due);
        assert_eq!(sandbox.end_label(later).duration_since(later.at).as_secs(), 200);
    }
    let rebooted = Stamp { boot: BootId::from(uuid::Uuid::from_u128(2)), ..stamp(5, 100_100) };
    assert_eq!(sandbox.due(rebooted), rebooted.uptime.after(Duration::from_secs(200)));
    assert_eq!(sandbox.end_label(rebooted), at(100_300_000));
}

#[test]
fn a_state_recorded_before_spans_were_kept_is_read_and_written_as_it_was() {
    let state = State::Running { execution: execution(7, 1_000) };
    let text = serde_json::to_string(&state).unwrap();
    assert!(!text.contains("span"), "{text}");
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}
