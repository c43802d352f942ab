//! The sandboxes of which the runtime holds the handles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandscope_engine::{EngineError, Notice};
use sandscope_model::SandboxId;
use tokio::sync::mpsc;

use super::sandbox::Sandbox;

#[derive(Debug)]
pub(super) struct Sandboxes {
    held: Mutex<HashMap<SandboxId, Arc<Sandbox>>>,
    notices: mpsc::Sender<Notice>,
}

impl Sandboxes {
    pub(super) fn new(notices: mpsc::Sender<Notice>) -> Self {
        Self { held: Mutex::default(), notices }
    }

    /// Adds a sandbox and starts the task that waits for its end.
    pub(super) fn adopt(&self, sandbox: Arc<Sandbox>) {
        self.held().insert(sandbox.id.clone(), Arc::clone(&sandbox));
        let notices = self.notices.clone();
        tokio::spawn(async move { sandbox.watch(&notices).await });
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

    pub(super) fn ids(&self) -> Vec<SandboxId> {
        self.held().keys().cloned().collect()
    }

    pub(super) fn running(&self) -> Vec<SandboxId> {
        let held = self.held();
        held.values().filter(|sandbox| sandbox.is_running()).map(|sandbox| sandbox.id.clone()).collect()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Sandbox>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
