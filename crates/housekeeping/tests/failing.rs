//! Keeping house fails, is seen and starts over.

#![expect(clippy::unwrap_used, reason = "a test may give up")]

use std::sync::Arc;
use std::time::Duration;

use sandscope_housekeeping::HousekeepingOptions;
use sandscope_store::{SampleRetention, Store};
use sandscope_tasks::TaskState;
use sandscope_testbed::{PoisonClock, StepClock};

#[tokio::test]
async fn a_round_that_fails_is_seen_and_the_next_one_comes() {
    let directory = tempfile::tempdir().unwrap();
    let clock = StepClock::new();
    let poisoned = PoisonClock::new(clock.clone(), Duration::from_secs(60));
    poisoned.poison(1);
    let store = Store::open(directory.path(), Arc::new(clock.clone())).unwrap();
    let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
    let options =
        HousekeepingOptions { store, clock: Arc::new(poisoned), retention: SampleRetention::default() };
    sandscope_housekeeping::start(options, &tasks);
    // The wait before it starts again.
    clock.wait_for_sleepers(1).await;
    assert_eq!(tasks.in_trouble(), ["housekeeping"]);
    clock.advance(Duration::from_secs(1));
    // The wait for the next round.
    clock.wait_for_sleepers(1).await;
    let status = tasks.statuses().remove(0);
    assert_eq!((status.state, status.n_restarts), (TaskState::Running, 1));
    tasks.drain(Duration::from_secs(10)).await;
}
