//! The tasks of a server that must never end, as operators see them.

use sandscope_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// Its name: one of a fixed set.
    pub name: String,
    /// What follows when it fails: `restart`, `fatal` (the server drains and exits), or `crew` (many of a kind, each
    /// started anew by its owner).
    pub policy: String,
    /// In which phase of a drain it is stopped.
    pub phase: String,
    /// `running`, `waiting` (it failed and starts again soon), `ended` (as it was asked to) or `failed` (for good).
    pub state: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// How often it, or one of the crew, was started again since the server started.
    pub restarts: u64,
    /// How it last ended, if it did.
    #[schema(required)]
    pub last_exit: Option<TaskExitView>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskExitView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Why, where it failed; at most a few hundred characters.
    #[schema(required)]
    pub failure: Option<String>,
}

/// Whether every task does what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// The tasks that do not.
    pub tasks: Vec<String>,
}
