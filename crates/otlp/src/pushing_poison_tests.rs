//! Each kind of export fails once, is seen, and goes on with nothing missing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use sandscope_model::Signal;
use sandscope_tasks::{TaskState, Tasks};
use sandscope_testbed::PoisonClock;

use super::{LIMIT, World, by_name, ids};
use crate::receiver::{Receiver, words};

/// Lets time pass until that task has failed.
async fn failed(world: &World, otlp: &Tasks, name: &str, why: &str) {
    let in_trouble = async {
        while otlp.in_trouble().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, world.pass(in_trouble)).await.unwrap();
    let status = otlp.statuses().into_iter().find(|status| status.name == name).unwrap();
    assert_eq!((status.state, status.n_restarts), (TaskState::Waiting, 0));
    assert_eq!(status.last_exit.unwrap().failure, Some(format!("panicked: {why}")));
}

/// It runs again, and has failed but once.
fn assert_restarted(otlp: &Tasks, name: &str) {
    assert!(otlp.in_trouble().is_empty());
    let status = otlp.statuses().into_iter().find(|status| status.name == name).unwrap();
    assert_eq!((status.state, status.n_restarts), (TaskState::Running, 1));
}

#[tokio::test]
async fn an_export_of_events_that_fails_is_seen_and_goes_on_from_what_is_stored() {
    let (mut world, receiver) = (World::new().await, Receiver::start().await);
    // What the pump sleeps for between two looks.
    let clock = PoisonClock::new(world.clock.clone(), Duration::from_secs(5));
    let otlp = world.export_by(Arc::new(clock.clone()), &receiver.url, &[Signal::Events]).await;
    let mut owed = world.happen(3).await;
    world.pass(receiver.until("three", |receiver| receiver.taken().len() == 3)).await;
    clock.poison(1);
    // The pump is woken by what happens, sends it, and breaks as it falls asleep again.
    owed.extend(world.happen(2).await);
    failed(&world, &otlp, "otlp-events", "planned, at a sleep of 5s").await;
    owed.extend(world.happen(2).await);
    world.pass(receiver.until("seven", |receiver| receiver.taken().len() == 7)).await;
    assert_restarted(&otlp, "otlp-events");
    otlp.drain(LIMIT).await;
    assert_eq!(ids(&receiver.taken()), owed, "each once");
}

#[tokio::test]
async fn an_export_of_logs_that_fails_is_seen_and_goes_on_from_what_is_stored() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    // What the pump sleeps for between two looks.
    let clock = PoisonClock::new(world.clock.clone(), Duration::from_secs(1));
    let otlp = world.export_by(Arc::new(clock.clone()), &receiver.url, &[Signal::Logs]).await;
    world.write(&["one", "two"]).await;
    world.pass(receiver.until("two", |receiver| receiver.taken().len() == 2)).await;
    // It breaks as it falls asleep, with or without the third.
    clock.poison(1);
    world.write(&["three"]).await;
    failed(&world, &otlp, "otlp-logs", "planned, at a sleep of 1s").await;
    world.write(&["four"]).await;
    world.pass(receiver.until("four", |receiver| receiver.taken().len() == 4)).await;
    assert_restarted(&otlp, "otlp-logs");
    world.write(&["five"]).await;
    world.pass(receiver.until("five", |receiver| receiver.taken().len() == 5)).await;
    otlp.drain(LIMIT).await;
    let taken: Vec<String> = receiver.taken().iter().map(words).collect();
    assert_eq!(taken, ["one", "two", "three", "four", "five"], "each once");
}

/// When what a request says was so.
fn measured_at(request: &ExportMetricsServiceRequest) -> u64 {
    let count = by_name(&request.resource_metrics[0], "sandscope.sandbox.count");
    let Some(Data::Sum(sum)) = &count.data else { panic!("{count:?}") };
    sum.data_points[0].time_unix_nano
}

#[tokio::test]
async fn a_measurement_that_fails_is_seen_and_costs_none_of_those_that_wait() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.refuse_metrics(true);
    let otlp = world.export(&receiver.url, &[Signal::Metrics]).await;
    let two_wait = async {
        while world.stats.counts(Signal::Metrics).n_waiting < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, world.pass(two_wait)).await.unwrap();
    world.is_poisoned.store(true, Ordering::SeqCst);
    failed(&world, &otlp, "otlp-metrics", "planned, at the sandboxes").await;
    receiver.refuse_metrics(false);
    world.pass(receiver.until("those and another", |receiver| receiver.metrics().len() >= 3)).await;
    assert_restarted(&otlp, "otlp-metrics");
    otlp.drain(LIMIT).await;
    let at: Vec<u64> = receiver.metrics()[..3].iter().map(measured_at).collect();
    let after = [at[1] - at[0], at[2] - at[0]];
    // The third interval's broke, a second passed before the next life began.
    assert_eq!(after, [15_000_000_000, 46_000_000_000]);
    assert_eq!(world.stats.counts(Signal::Metrics).n_dropped, 0);
}
