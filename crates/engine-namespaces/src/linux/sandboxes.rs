//! The sandboxes of which the engine holds the handles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandscope_engine::{EngineError, Notice};
use sandscope_model::SandboxId;
use sandscope_tasks::{Crew, Phase, Tasks};
use tokio::sync::mpsc;

use super::sandbox::Sandbox;

/// How long after a watcher's panic the next one begins.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sandboxes {
    held: Mutex<HashMap<SandboxId, Arc<Sandbox>>>,
    notices: mpsc::Sender<Notice>,
    watchers: Crew,
}

impl Sandboxes {
    pub(super) fn new(notices: mpsc::Sender<Notice>, tasks: &Tasks) -> Self {
        let watchers = tasks.crew("sandbox-watchers", Phase::Engine);
        Self { held: Mutex::default(), notices, watchers }
    }

    /// Adds a sandbox and starts the task that waits for its end. One that panics is followed by another: an end that
    /// nobody sees would never be reported.
    pub(super) fn adopt(&self, sandbox: Arc<Sandbox>) {
        self.held().insert(sandbox.id.clone(), Arc::clone(&sandbox));
        let (notices, watchers) = (self.notices.clone(), self.watchers.clone());
        tokio::spawn(async move {
            while watchers.run(&sandbox.id, sandbox.watch(&notices)).await.is_err() {
                tokio::time::sleep(AFTER_A_PANIC).await;
            }
        });
    }

    pub(super) fn remove(&self, id: &SandboxId) {
        self.held().remove(id);
    }

    pub(super) fn get(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.held().get(id).cloned()
    }

    /// One with living processes.
    ///
    /// # Errors
    ///
    /// There is none of that id, or it has ended.
    pub(super) fn alive(&self, id: &SandboxId) -> Result<Arc<Sandbox>, EngineError> {
        self.get(id).filter(|sandbox| sandbox.live().is_some()).ok_or(EngineError::NotFound)
    }

    pub(super) fn all(&self) -> Vec<Arc<Sandbox>> {
        self.held().values().cloned().collect()
    }

    pub(super) fn ids(&self) -> Vec<SandboxId> {
        self.held().keys().cloned().collect()
    }

    pub(super) fn running(&self) -> Vec<SandboxId> {
        let held = self.held();
        held.values().filter(|sandbox| sandbox.is_running()).map(|sandbox| sandbox.id.clone()).collect()
    }

    /// Those with living processes.
    pub(super) fn all_alive(&self) -> Vec<Arc<Sandbox>> {
        let held = self.held();
        held.values().filter(|sandbox| sandbox.live().is_some()).cloned().collect()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Sandbox>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
