use std::time::SystemTime;

use crate::{Phase, Policy};

/// How a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It runs.
    Running,
    /// It failed and waits to start again.
    Waiting,
    /// It ended as it was asked to.
    Ended,
    /// It failed and does not start again: the server is about to exit.
    Failed,
}

impl TaskState {
    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether what the task does is not done although it should be.
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Waiting | Self::Failed)
    }
}

/// How a life of a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskExit {
    /// When it ended, by the machine's clock.
    pub at: SystemTime,
    /// Why, if it failed: one sentence of bounded length. `None`: it was asked to end.
    pub failure: Option<String>,
}

/// A task as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its name: one of a fixed set.
    pub name: &'static str,
    /// What follows when it fails.
    pub policy: Policy,
    /// When it is drained.
    pub phase: Phase,
    /// How it is.
    pub state: TaskState,
    /// Since when.
    pub since: SystemTime,
    /// How often it was started again since the server started.
    pub n_restarts: u64,
    /// How its last life ended, if one has.
    pub last_exit: Option<TaskExit>,
}
