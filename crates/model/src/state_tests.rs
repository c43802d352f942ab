use proptest::prelude::*;

use super::*;
use crate::EventType;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn execution(n: u128, started_ms: i64) -> Execution {
    Execution {
        id: uuid::Uuid::from_u128(n).into(),
        started_at: at(started_ms),
        vcpu_count: 2,
        memory_mb: 512,
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
    let paused = Paused { paused_at: at(10), last_execution_id: uuid::Uuid::from_u128(7).into() };
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
