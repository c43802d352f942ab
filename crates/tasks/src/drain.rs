//! Ending in order: phase after phase, nothing before what hands it work.

use std::pin::Pin;
use std::sync::PoisonError;
use std::time::Duration;

use crate::registry::{PhaseTasks, Tasks};
use crate::{Phase, TaskState};

/// How long the tasks of a phase get at the least, also when the drain's time is over.
const GRACE: Duration = Duration::from_secs(1);

/// Something to be done in a drain; it is passed the time that is left.
pub(crate) type Step = Box<dyn FnOnce(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl Tasks {
    /// Adds something to be done when `phase` is drained, after its tasks were asked to stop and before they are waited
    /// for. It is passed the time that is left, and has to keep to it. Steps of a phase follow one another.
    pub fn at_drain<F, S>(&self, phase: Phase, step: F)
    where
        F: FnOnce(Duration) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        if let Some(tasks) = self.shared.phases.get(&phase) {
            let step: Step = Box::new(|left| Box::pin(step(left)));
            tasks.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        }
    }

    /// Stops everything, phase after phase. A task that has not ended when `limit` and a grace are over is cut off.
    pub async fn drain(&self, limit: Duration) {
        let deadline = self.uptime().saturating_add(limit);
        let left = || deadline.saturating_sub(self.uptime());
        for (phase, tasks) in &self.shared.phases {
            tasks.stop.cancel();
            let steps = std::mem::take(&mut *tasks.steps.lock().unwrap_or_else(PoisonError::into_inner));
            for step in steps {
                step(left()).await;
            }
            self.end(*phase, tasks, left().max(GRACE)).await;
        }
    }

    async fn end(&self, phase: Phase, tasks: &PhaseTasks, limit: Duration) {
        tasks.tracker.close();
        tokio::select! {
            biased;
            () = tasks.tracker.wait() => return,
            () = self.sleep(limit) => {}
        }
        let late: Vec<_> = {
            let entries = self.entries();
            let of_phase = entries.values().filter(|entry| {
                let status = entry.status();
                status.phase == phase && status.state == TaskState::Running
            });
            of_phase.cloned().collect()
        };
        let names: Vec<_> = late.iter().map(|entry| entry.name).collect();
        tracing::warn!(%phase, ?names, "cutting off tasks that did not end in time");
        late.iter().for_each(|entry| entry.abort());
    }
}
