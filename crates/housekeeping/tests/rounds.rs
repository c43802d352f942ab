//! Keeping house over the real store, with the clock stepped by hand.

use std::sync::Arc;
use std::time::Duration;

use sandscope_housekeeping::HousekeepingOptions;
use sandscope_model::{Clock, MetricField as F, Sample, SandboxId, Values};
use sandscope_store::{SampleRetention, Store};
use sandscope_tasks::TaskState;
use sandscope_testbed::{PoisonClock, StepClock};

fn options(store: &Store, clock: Arc<dyn Clock>) -> HousekeepingOptions {
    let Store { facts, events, samples, attempts, logs, .. } = store.clone();
    HousekeepingOptions {
        facts,
        events,
        samples,
        attempts,
        logs,
        clock,
        retention: SampleRetention::default(),
    }
}

#[tokio::test]
async fn a_round_that_fails_is_seen_and_the_next_one_comes() {
    let directory = tempfile::tempdir().unwrap();
    let clock = StepClock::new();
    let poisoned = PoisonClock::new(clock.clone(), Duration::from_secs(60));
    poisoned.poison(1);
    let store = Store::open(directory.path(), Arc::new(clock.clone())).unwrap();
    let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
    let options = options(&store, Arc::new(poisoned));
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

#[tokio::test]
async fn samples_are_kept_for_seven_days() {
    let directory = tempfile::tempdir().unwrap();
    let clock = StepClock::new();
    let store = Store::open(directory.path(), Arc::new(clock.clone())).unwrap();
    let id: SandboxId = "i0123456789abcdefghij".parse().unwrap();
    let fields = [F::MemUsed, F::MemTotal, F::MemCache, F::DiskUsed, F::DiskTotal];
    let values = Values::NONE.with(F::CpuUsed, 100).with(F::CpuCount, 1);
    let values = fields.into_iter().fold(values, |values, field| values.with(field, 0));
    let first = Sample { sandbox_id: id.clone(), at: clock.now(), values };
    store.samples.insert_samples(vec![first]).await.unwrap();
    clock.advance(Duration::from_secs(7 * 24 * 3600));
    let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
    let options = options(&store, Arc::new(clock.clone()));
    sandscope_housekeeping::start(options, &tasks);
    clock.wait_for_sleepers(1).await;
    assert_eq!(store.samples.samples(&id, None, None, None).await.unwrap().len(), 1, "to the second");
    clock.advance(Duration::from_secs(3600));
    clock.wait_for_sleepers(1).await;
    assert!(store.samples.samples(&id, None, None, None).await.unwrap().is_empty());
    tasks.drain(Duration::from_secs(10)).await;
}
