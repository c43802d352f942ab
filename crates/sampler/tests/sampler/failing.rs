//! A sampler that fails is seen, starts over and stores samples again.

use std::time::Duration;

use sandscope_tasks::TaskState;
use sandscope_testbed::Question;

use crate::house::House;

#[tokio::test]
async fn a_reading_that_panics_is_seen_and_the_sampler_starts_over() {
    let mut house = House::new().await;
    house.start().await;
    let id = house.sandbox(1).await;
    house.pass(Duration::from_secs(6)).await;
    let n_before = house.samples(&id).await.len();
    house.runtime.poison(Question::Counters, 1);
    let failed = async {
        while house.tasks.in_trouble().is_empty() {
            house.clock.advance(Duration::from_millis(250));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), failed).await.unwrap();
    assert_eq!(house.tasks.in_trouble(), ["sampler"]);
    let status = house.tasks.statuses().into_iter().find(|status| status.name == "sampler").unwrap();
    assert_eq!(status.state, TaskState::Waiting);
    assert_eq!(
        status.last_exit.unwrap().failure.as_deref(),
        Some("panicked: planned, at the question Counters")
    );
    house.clock.advance(Duration::from_secs(1));
    house.pass(Duration::from_secs(12)).await;
    assert!(house.samples(&id).await.len() > n_before, "it samples again");
    let status = house.tasks.statuses().into_iter().find(|status| status.name == "sampler").unwrap();
    assert_eq!((status.state, status.n_restarts), (TaskState::Running, 1));
    assert!(house.tasks.in_trouble().is_empty());
}
