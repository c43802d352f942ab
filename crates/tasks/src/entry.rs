use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::task::AbortHandle;

use crate::{Phase, Policy, TaskExit, TaskState, TaskStatus};

/// What the registry knows of a task.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    status: Mutex<TaskStatus>,
    abort: Mutex<Option<AbortHandle>>,
}

impl Entry {
    pub(crate) fn new(name: &'static str, phase: Phase, policy: Policy, now: SystemTime) -> Self {
        let state = TaskState::Running;
        let status = TaskStatus { name, policy, phase, state, since: now, n_restarts: 0, last_exit: None };
        Self { name, status: Mutex::new(status), abort: Mutex::default() }
    }

    pub(crate) fn status(&self) -> TaskStatus {
        self.lock().clone()
    }

    /// It is now in `state`; where a life ended with that, this is how.
    pub(crate) fn change(&self, state: TaskState, now: SystemTime, exit: Option<TaskExit>) {
        let mut status = self.lock();
        (status.state, status.since) = (state, now);
        status.last_exit = exit.or(status.last_exit.take());
    }

    /// Another life begins.
    pub(crate) fn restarted(&self, now: SystemTime) {
        self.change(TaskState::Running, now, None);
        self.lock().n_restarts += 1;
    }

    /// A member of a crew failed; it is started anew by its owner.
    pub(crate) fn member_failed(&self, exit: TaskExit) {
        let mut status = self.lock();
        status.n_restarts += 1;
        status.last_exit = Some(exit);
    }

    pub(crate) fn aborted_by(&self, abort: AbortHandle) {
        *self.abort.lock().unwrap_or_else(PoisonError::into_inner) = Some(abort);
    }

    pub(crate) fn abort(&self) {
        if let Some(abort) = &*self.abort.lock().unwrap_or_else(PoisonError::into_inner) {
            abort.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, TaskStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
