//! Tasks that fail: seen, started again, fatal, drained.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use sandscope_model::Clock as _;
use sandscope_tasks::{Phase, Task, TaskState, TaskStatus, Tasks};
use sandscope_testbed::StepClock;
use tokio::sync::mpsc;

fn registry() -> (StepClock, Tasks) {
    let clock = StepClock::new();
    let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
    (clock, tasks)
}

fn status(tasks: &Tasks, name: &str) -> TaskStatus {
    tasks.statuses().into_iter().find(|status| status.name == name).unwrap()
}

/// A life that panics as often as it is asked to, and otherwise waits to be stopped.
fn frail(tasks: &Tasks, n_panics: u32, begun: mpsc::UnboundedSender<u32>) -> impl FnMut() -> Life + use<> {
    let (stop, n_lives) = (tasks.stopping(Phase::Observe), Arc::<AtomicU32>::default());
    move || {
        let (stop, begun, n_lives) = (stop.clone(), begun.clone(), Arc::clone(&n_lives));
        Box::pin(async move {
            let n = n_lives.fetch_add(1, Ordering::SeqCst);
            begun.send(n).unwrap();
            assert!(n >= n_panics, "life {n} {}", "is frail ".repeat(100));
            stop.cancelled().await;
        })
    }
}

type Life = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test]
async fn a_panic_is_seen_and_the_task_starts_again_after_a_wait() {
    let (clock, tasks) = registry();
    let (begun, mut lives) = mpsc::unbounded_channel();
    tasks.start(Task::restart("frail", Phase::Observe), frail(&tasks, 1, begun));
    assert_eq!(lives.recv().await, Some(0));
    clock.wait_for_sleepers(1).await;
    let seen = status(&tasks, "frail");
    assert_eq!((seen.state, seen.n_restarts), (TaskState::Waiting, 0));
    let failure = seen.last_exit.unwrap().failure.unwrap();
    assert!(failure.starts_with("panicked: life 0 is frail") && failure.len() < 400, "{failure}");
    assert_eq!(tasks.in_trouble(), ["frail"]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(lives.recv().await, Some(1));
    let seen = status(&tasks, "frail");
    assert_eq!((seen.state, seen.n_restarts), (TaskState::Running, 1));
    let now = Duration::from_micros(clock.now().as_microsecond().unsigned_abs());
    assert_eq!(seen.since, SystemTime::UNIX_EPOCH + now);
    assert!(tasks.in_trouble().is_empty() && tasks.failure().is_none());
    tasks.drain(Duration::from_secs(10)).await;
    assert_eq!(status(&tasks, "frail").state, TaskState::Ended);
}

#[tokio::test]
async fn what_fails_too_often_within_a_while_is_fatal() {
    let (clock, tasks) = registry();
    let (begun, mut lives) = mpsc::unbounded_channel();
    tasks.start(Task::restart("frail", Phase::Observe), frail(&tasks, u32::MAX, begun));
    for n in 0..=10 {
        assert_eq!(lives.recv().await, Some(n));
        if n < 10 {
            clock.wait_for_sleepers(1).await;
            clock.advance(Duration::from_secs(1 << n.min(5)));
            if n > 5 {
                clock.advance(Duration::from_secs(28));
            }
        }
    }
    let failure = tasks.failed().await;
    assert_eq!(failure.name, "frail");
    let words = failure.to_string();
    assert!(words.contains("the task frail failed for good: it failed 11 times"), "{words}");
    assert_eq!(status(&tasks, "frail").state, TaskState::Failed);
}

#[tokio::test]
async fn a_fatal_task_ends_the_server_also_if_it_just_returns() {
    let (_, tasks) = registry();
    tasks.fatal("short", Phase::Change, async {});
    assert_eq!(tasks.failed().await.why, "ended although nobody stopped it");
    assert_eq!(tasks.in_trouble(), ["short"]);
}

#[tokio::test]
async fn a_life_that_fails_says_why_and_the_task_starts_again() {
    let (clock, tasks) = registry();
    let (begun, mut begins) = mpsc::unbounded_channel();
    let mut n = 0;
    tasks.start(Task::restart("frail", Phase::Observe), move || {
        n += 1;
        let (begun, fails) = (begun.clone(), n == 1);
        async move {
            begun.send(()).unwrap();
            if fails { Err("got no thread".to_owned()) } else { std::future::pending().await }
        }
    });
    begins.recv().await.unwrap();
    clock.wait_for_sleepers(1).await;
    let seen = status(&tasks, "frail");
    assert_eq!(seen.state, TaskState::Waiting);
    assert_eq!(seen.last_exit.unwrap().failure.as_deref(), Some("got no thread"));
    clock.advance(Duration::from_secs(60));
    begins.recv().await.unwrap();
    assert_eq!(status(&tasks, "frail").n_restarts, 1);
}

#[tokio::test]
async fn a_thread_elsewhere_is_watched() {
    let (_, tasks) = registry();
    let (ends, ended) = tokio::sync::oneshot::channel::<String>();
    tasks.watch("thread", Phase::Store, async { Err(ended.await.unwrap()) });
    assert_eq!(status(&tasks, "thread").state, TaskState::Running);
    ends.send("panicked: full".to_owned()).unwrap();
    assert_eq!(tasks.failed().await.to_string(), "the task thread failed for good: it panicked: full");
}

#[tokio::test]
async fn a_drain_goes_phase_after_phase_and_cuts_off_what_does_not_end() {
    let (clock, tasks) = registry();
    let (said, mut order) = mpsc::unbounded_channel();
    for phase in Phase::ALL.into_iter().rev() {
        let (stop, said_end) = (tasks.stopping(phase), said.clone());
        tasks.fatal(phase.as_str(), phase, async move {
            stop.cancelled().await;
            said_end.send(format!("{phase} ends")).unwrap();
        });
        let said = said.clone();
        tasks.at_drain(phase, move |left| async move {
            assert_eq!(left, Duration::from_secs(10));
            said.send(format!("{phase} step")).unwrap();
        });
    }
    drop(said);
    tasks.drain(Duration::from_secs(10)).await;
    let mut phases = Vec::new();
    while let Ok(line) = order.try_recv() {
        phases.push(line.split(' ').next().unwrap().to_owned());
    }
    let expected: Vec<_> = Phase::ALL.iter().flat_map(|phase| [phase.as_str(); 2]).collect();
    assert_eq!(phases, expected);
    assert!(tasks.failure().is_none());

    let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
    tasks.fatal("stuck", Phase::Observe, std::future::pending());
    let draining = tokio::spawn({
        let tasks = tasks.clone();
        async move { tasks.drain(Duration::from_secs(10)).await }
    });
    clock.wait_for_sleepers(1).await;
    clock.advance(Duration::from_secs(10));
    draining.await.unwrap();
}

#[tokio::test]
async fn a_member_of_a_crew_fails_alone() {
    let (_, tasks) = registry();
    let crew = tasks.crew("drivers", Phase::Change);
    assert_eq!(crew.run(&"one", async { 7 }).await.unwrap(), 7);
    let panic = crew.run(&"two", async { panic!("no") }).await.unwrap_err();
    assert_eq!(panic.to_string(), "panicked: no");
    let seen = status(&tasks, "drivers");
    assert_eq!((seen.state, seen.n_restarts), (TaskState::Running, 1));
    assert_eq!(seen.last_exit.unwrap().failure.as_deref(), Some("two panicked: no"));
    assert!(tasks.in_trouble().is_empty() && tasks.failure().is_none());
}
