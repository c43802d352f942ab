//! Servers that end at any moment publish what one that never ends would.

use std::time::Duration;

use proptest::prelude::*;
use sandscope_model::KillReason;
use sandscope_store::fault::Fault;

use super::house::{House, crash_loop};

/// What becomes of the server after a death.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    GoesOn,
    /// It ends before it has looked.
    Ends,
    /// What it decides cannot be stored; then it goes on.
    CannotStore,
    /// What it decides cannot be stored, and it ends.
    CannotStoreAndEnds,
    /// It ended before the death, and is not started again until the next.
    IsDown,
}

/// What is published of deaths, each so many seconds after the one before, by the definition: events are looked at one by
/// one, each at its own time, and what fires resolves when a server looks and it is long ago.
fn naive(deaths: &[(u64, Fate)]) -> Vec<bool> {
    let (mut at, mut seen, mut n_walked, mut is_firing, mut published) =
        (0, Vec::new(), 0, false, Vec::new());
    let mut round = |at: u64, seen: &[u64]| {
        for n in n_walked..seen.len() {
            let lately = seen[..=n].iter().filter(|other| **other + 60 > seen[n]).count();
            if lately >= 3 && !is_firing {
                is_firing = true;
                published.push(true);
            }
        }
        n_walked = seen.len();
        if is_firing && seen.iter().filter(|other| **other + 60 > at).count() < 3 {
            is_firing = false;
            published.push(false);
        }
    };
    let mut is_up = true;
    for (elapsed, fate) in deaths {
        at += elapsed;
        if is_up && *fate != Fate::IsDown {
            round(at, &seen);
        }
        seen.push(at);
        is_up = *fate != Fate::IsDown;
        if is_up {
            round(at, &seen);
        }
    }
    published
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::GoesOn),
        Just(Fate::Ends),
        Just(Fate::CannotStore),
        Just(Fate::CannotStoreAndEnds),
        Just(Fate::IsDown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn servers_that_end_at_any_moment_tell_what_one_would_have_told(
        deaths in proptest::collection::vec((0_u64..50, fates()), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen: Vec<bool> = runtime.block_on(async {
            let mut house = House::new(vec![crash_loop()]).await;
            house.round().await.unwrap();
            let mut is_up = true;
            for (elapsed, fate) in &deaths {
                house.clock.advance(Duration::from_secs(*elapsed));
                if is_up && *fate != Fate::IsDown {
                    house.round().await.unwrap();
                }
                house.die(1, &[], KillReason::Crashed).await;
                let was_up = std::mem::replace(&mut is_up, *fate != Fate::IsDown);
                if !is_up {
                    continue;
                }
                if matches!(fate, Fate::CannotStore | Fate::CannotStoreAndEnds) && was_up {
                    house.faults.fail_always(Some(Fault::Io));
                    // There may have been nothing to store.
                    let _ = house.round().await;
                    house.faults.fail_always(None);
                }
                if !was_up || matches!(fate, Fate::Ends | Fate::CannotStoreAndEnds) {
                    house.restart().await;
                }
                house.round().await.unwrap();
            }
            house.published().await.into_iter().map(|(is_firing, ..)| is_firing).collect()
        });
        prop_assert_eq!(seen, naive(&deaths));
    }
}
