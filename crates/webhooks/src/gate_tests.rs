use proptest::prelude::*;
use sandscope_testbed::SeededEntropy;

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn end(gate: &mut Gate, receiver: ReceiverState, now: Timestamp) {
    gate.ended(receiver, None, now, &SeededEntropy::new(7));
}

#[test]
fn the_window_halves_under_load_and_grows_again_with_success() {
    let mut gate = Gate::new(8, None, false);
    let mut windows = Vec::new();
    for _ in 0..4 {
        end(&mut gate, ReceiverState::Overloaded, at(0));
        windows.push(gate.window());
    }
    assert_eq!(windows, [4, 2, 1, 1]);
    let mut n = 0;
    while gate.window() < 8 {
        end(&mut gate, ReceiverState::Well, at(0));
        n += 1;
    }
    assert_eq!(n, (1..8).sum::<usize>(), "one more for every window of successes");
}

#[test]
fn nothing_gets_through_a_breaker_but_one_probe_and_then_a_ramp() {
    let mut gate = Gate::new(8, None, false);
    for _ in 0..FAILURES_TO_OPEN {
        assert!(!gate.is_open());
        end(&mut gate, ReceiverState::Broken, at(0));
    }
    let mut pauses = Vec::new();
    let mut now = at(0);
    for _ in 0..8 {
        assert!(gate.is_open() && !gate.admits(now, 0));
        let opens_at = gate.opens_at(now).unwrap();
        pauses.push(opens_at.duration_since(now).as_secs());
        now = opens_at;
        assert!(gate.admits(now, 0) && !gate.admits(now, 1), "one probe");
        gate.started(now);
        assert!(!gate.admits(after(now, Duration::from_secs(9_999)), 0) && gate.opens_at(now).is_none());
        end(&mut gate, ReceiverState::Broken, now);
    }
    for (pause, least) in pauses.iter().zip([10, 20, 40, 80, 160, 300, 300, 300]) {
        assert!((least..=least + least / 10).contains(pause), "{pauses:?}");
    }
    now = gate.opens_at(now).unwrap();
    gate.started(now);
    end(&mut gate, ReceiverState::Well, now);
    let mut windows = vec![gate.window()];
    for _ in 0..7 {
        end(&mut gate, ReceiverState::Well, now);
        windows.push(gate.window());
    }
    assert_eq!(windows, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_receiver_that_says_no_is_not_a_broken_one() {
    let mut gate = Gate::new(8, None, false);
    for _ in 0..100 {
        end(&mut gate, ReceiverState::Unwilling, at(0));
    }
    assert!(gate.admits(at(0), 7));
}

#[test]
fn one_that_was_failing_at_the_last_stop_starts_with_a_probe() {
    let mut gate = Gate::new(8, None, true);
    assert!(gate.admits(at(0), 0) && !gate.admits(at(0), 1));
    gate.started(at(0));
    end(&mut gate, ReceiverState::Nothing, at(0));
    assert!(gate.admits(at(0), 0), "a probe that was not made is made again");
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_within_bounds() {
    let mut gate = Gate::new(8, None, false);
    let hold = Some(Duration::from_secs(30));
    gate.ended(ReceiverState::Overloaded, hold, at(0), &SeededEntropy::new(1));
    assert!(!gate.admits(at(29_999), 0) && gate.admits(at(30_000), 0));
    gate.ended(ReceiverState::Overloaded, Some(Duration::MAX), at(0), &SeededEntropy::new(1));
    assert_eq!(gate.opens_at(at(0)), Some(at(3_600_000)));
}

proptest! {
    /// Over any stretch no more start than the rate allows, with a burst of one second.
    #[test]
    fn the_pace_is_kept(rate in 1_u32..500, waits in prop::collection::vec(0_i64..50, 1..400)) {
        let mut gate = Gate::new(1_000, Some(rate), false);
        let (mut now, mut starts) = (0, Vec::new());
        for wait in waits {
            now += wait;
            while gate.admits(at(now), 0) {
                gate.started(at(now));
                starts.push(now);
            }
        }
        for (n, start) in starts.iter().enumerate() {
            for (m, later) in starts.iter().enumerate().skip(n) {
                let allowed = f64::from(rate) * (1.0 + (later - start) as f64 / 1_000.0) + 1.0;
                prop_assert!((m - n) as f64 <= allowed);
            }
        }
    }
}
