//! What the operator's port says of the tasks that must never end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use jiff::Timestamp;
use sandscope_tasks::{TaskExit, TaskStatus, Tasks};
use sandscope_telemetry::exposition::{Exposition, Kind};
use sandscope_wire::task::{HealthView, TaskExitView, TaskView};

use super::{Operator, float};

/// `GET /tasks`.
pub(super) async fn tasks(State(operator): State<Arc<Operator>>) -> Json<Vec<TaskView>> {
    Json(operator.tasks.statuses().into_iter().map(view).collect())
}

/// `GET /health`: 204, or 503 with the names of the tasks that do not do what they should.
pub(super) async fn health(State(operator): State<Arc<Operator>>) -> Response {
    let names = operator.tasks.in_trouble();
    if names.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let tasks = names.into_iter().map(ToOwned::to_owned).collect();
    (StatusCode::SERVICE_UNAVAILABLE, Json(HealthView { tasks })).into_response()
}

/// The families about tasks: one series of each for a task.
pub(super) fn families(tasks: &Tasks, text: &mut Exposition) {
    let statuses = tasks.statuses();
    type Field = fn(&TaskStatus) -> f64;
    let families: [(&'static str, Kind, &str, Field); 3] = [
        (
            "sandscope_task_up",
            Kind::Gauge,
            "Whether a task that must never end runs: 0 while it waits to start again.",
            |status| f64::from(u8::from(!status.state.is_trouble())),
        ),
        (
            "sandscope_task_restarts_total",
            Kind::Counter,
            "How often a task, or one of many of a kind, failed and was started again.",
            |status| float(status.n_restarts),
        ),
        (
            "sandscope_task_last_exit_time_seconds",
            Kind::Gauge,
            "When a task last ended, in unix seconds; 0 if it never has.",
            |status| status.last_exit.as_ref().map_or(0.0, |exit| since_1970(exit.at).as_secs_f64()),
        ),
    ];
    for (name, kind, help, field) in families {
        text.family(name, kind, help);
        for status in &statuses {
            text.sample(&[("task", status.name)], field(status));
        }
    }
}

fn view(status: TaskStatus) -> TaskView {
    let TaskStatus { name, policy, phase, state, since, n_restarts, last_exit } = status;
    TaskView {
        name: name.to_owned(),
        policy: policy.as_str().to_owned(),
        phase: phase.to_string(),
        state: state.as_str().to_owned(),
        since: timestamp(since),
        restarts: n_restarts,
        last_exit: last_exit.map(|TaskExit { at, failure }| TaskExitView { at: timestamp(at), failure }),
    }
}

fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn timestamp(at: SystemTime) -> Timestamp {
    let ms = i64::try_from(since_1970(at).as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use sandscope_tasks::{Phase, Task};

    use super::*;
    use sandscope_system::SystemClock;

    #[tokio::test]
    async fn a_task_that_failed_is_seen() {
        let tasks = Tasks::new(SystemClock);
        let stop = tasks.stopping(Phase::Observe);
        tasks.start(Task::restart("well", Phase::Observe), move || stop.clone().cancelled_owned());
        tasks.fatal("poisoned", Phase::Change, async { panic!("no more") });
        tasks.failed().await;
        let mut text = Exposition::default();
        families(&tasks, &mut text);
        let text = text.finish();
        for line in [
            "sandscope_task_up{task=\"poisoned\"} 0",
            "sandscope_task_up{task=\"well\"} 1",
            "sandscope_task_restarts_total{task=\"poisoned\"} 0",
            "sandscope_task_last_exit_time_seconds{task=\"well\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let views: Vec<_> = tasks.statuses().into_iter().map(view).collect();
        assert_eq!(views[0].last_exit.as_ref().unwrap().failure.as_deref(), Some("panicked: no more"));
        assert_eq!((views[0].state.as_str(), views[0].policy.as_str()), ("failed", "fatal"));
        assert_eq!((views[1].state.as_str(), views[1].phase.as_str()), ("running", "observe"));
    }
}
