use proptest::prelude::*;

use super::*;

const ASKS: [Ask; 8] = [
    Ask::Kill,
    Ask::Pause,
    Ask::Resume,
    Ask::Connect,
    Ask::Wake,
    Ask::SetTimeout,
    Ask::Refresh,
    Ask::Checkpoint,
];

fn at(second: u64) -> Uptime {
    Uptime::new(std::time::Duration::from_secs(second))
}

#[test]
fn what_may_be_asked_in_which_state() {
    use Outcome::{Accept as A, Denied, Gone as G, Satisfied as S};
    let (r, p, k) = (StateName::Running, StateName::Paused, StateName::Killing);
    let (dr, dp, dk) = (Denied(r), Denied(p), Denied(k));
    // In the order of ASKS.
    let table = [
        (r, [A, A, dr, A, S, A, A, A]),
        (p, [A, dp, A, A, A, dp, dp, dp]),
        (k, [A, dk, dk, dk, dk, dk, dk, dk]),
        (StateName::Killed, [S, G, G, G, G, G, G, G]),
        (StateName::Creating, [G, G, G, G, G, G, G, G]),
    ];
    for (state, verdicts) in table {
        for (ask, verdict) in ASKS.into_iter().zip(verdicts) {
            assert_eq!(ask.judge(state), verdict, "{ask:?} while {state}");
        }
    }
}

#[test]
fn a_death_outranks_every_request_and_a_kill_every_other() {
    let mut inbox = Inbox::new(4);
    inbox.push(Ask::Pause, at(1), "pause").unwrap();
    inbox.push(Ask::Kill, at(2), "kill").unwrap();
    assert_eq!(inbox.next(true, None, at(3)), Turn::Exit);
    assert_eq!(inbox.next(false, Some(at(0)), at(3)), Turn::Request("kill"));
    assert_eq!(inbox.next(false, None, at(3)), Turn::Request("pause"));
    assert_eq!(inbox.next(false, None, at(3)), Turn::Nobody);
}

#[test]
fn a_request_made_in_time_is_heard_before_the_time_is_up() {
    let mut inbox = Inbox::new(4);
    inbox.push(Ask::Pause, at(10), "too late").unwrap();
    inbox.push(Ask::SetTimeout, at(9), "in time").unwrap();
    assert_eq!(inbox.next(false, Some(at(10)), at(11)), Turn::Request("in time"));
    assert_eq!(inbox.next(false, Some(at(10)), at(11)), Turn::TimeUp);
    assert_eq!(inbox.next(false, Some(at(60)), at(11)), Turn::Request("too late"));
}

proptest! {
    #[test]
    fn every_request_gets_its_turn_once_and_others_keep_their_order(
        arrivals in prop::collection::vec((0_usize..8, 0_u64..20), 0..40),
        capacity in 1_usize..50,
    ) {
        let mut inbox = Inbox::new(capacity);
        let mut accepted = Vec::new();
        for (n, (ask, second)) in arrivals.iter().enumerate() {
            match inbox.push(ASKS[*ask], at(*second), n) {
                Ok(()) => accepted.push((ASKS[*ask], n)),
                Err(refused) => {
                    prop_assert_eq!(refused, n);
                    prop_assert!(accepted.len() >= capacity);
                }
            }
        }
        let mut heard = Vec::new();
        while let Turn::Request(n) = inbox.next(false, None, at(100)) {
            heard.push(n);
        }
        let (kills, others): (Vec<_>, Vec<_>) = accepted.into_iter().partition(|(ask, _)| *ask == Ask::Kill);
        let expected: Vec<_> = kills.into_iter().chain(others).map(|(_, n)| n).collect();
        prop_assert_eq!(heard, expected);
    }
}
