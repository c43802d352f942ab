use sandscope_model::{BuildId, Exit, SandboxId};

use crate::Stray;

/// What a look at the host found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The sandboxes the engine holds, in whatever shape.
    pub sandboxes: Vec<SandboxId>,
    /// The captured layers.
    pub layers: Vec<BuildId>,
    /// What belongs to no sandbox that the engine holds, makes or removes.
    pub strays: Vec<Stray>,
}

/// A sandbox found on the host after a restart of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The sandbox.
    pub id: SandboxId,
    /// In what shape it is.
    pub state: FoundState,
}

/// In what shape a sandbox was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundState {
    /// Alive and running.
    Running,
    /// Alive and paused.
    Paused,
    /// Dead, with what is known about its end, the cause included; its traces are still there until it is killed.
    Dead(Exit),
}
