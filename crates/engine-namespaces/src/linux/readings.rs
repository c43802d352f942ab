//! What sandboxes use, read from control groups and `/proc`.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use sandscope_engine::{Depth, EngineError, ReadError, Reading, Readings, Wanted};
use sandscope_model::{Details, ProcessReading, SandboxId};

use super::engine::NamespacesEngine;
use super::sandbox::Sandbox;
use super::shared::Shared;

#[async_trait]
impl Readings for NamespacesEngine {
    fn running(&self) -> Vec<SandboxId> {
        self.shared.sandboxes.running()
    }

    /// One after the other on one thread, away from those that serve requests: each takes tens of microseconds, all of
    /// them together do not.
    async fn read(&self, wanted: Vec<Wanted>) -> Vec<(SandboxId, Result<Reading, ReadError>)> {
        let shared = Arc::clone(&self.shared);
        let read_all = move || {
            let read_one = |Wanted { id, depth }: Wanted| {
                let reading = read(&shared, &id, depth);
                (id, reading)
            };
            wanted.into_iter().map(read_one).collect()
        };
        match tokio::task::spawn_blocking(read_all).await {
            Ok(readings) => readings,
            Err(error) => match error.try_into_panic() {
                // As if it had happened in the caller's task, which then starts over.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => Vec::new(),
            },
        }
    }

    async fn details(&self, id: &SandboxId) -> Result<Details, ReadError> {
        self.look(id, Sandbox::details).await
    }

    async fn processes(&self, id: &SandboxId) -> Result<Vec<ProcessReading>, ReadError> {
        self.look(id, Sandbox::processes).await
    }
}

impl NamespacesEngine {
    async fn look<T: Send + 'static>(
        &self,
        id: &SandboxId,
        look: impl FnOnce(&Sandbox) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let sandbox = self.shared.sandboxes.get(id).ok_or(ReadError::NotFound)?;
        let looked = tokio::task::spawn_blocking(move || look(&sandbox)).await;
        let failed = |error| ReadError::Step { step: "read", source: io::Error::other(error) };
        looked.map_err(failed)?.map_err(unread)
    }
}

fn read(shared: &Shared, id: &SandboxId, depth: Depth) -> Result<Reading, ReadError> {
    let sandbox = shared.sandboxes.get(id).ok_or(ReadError::NotFound)?;
    let mut counters = sandbox.counters().map_err(unread)?;
    if depth != Depth::Counters {
        counters.more = sandbox.more_counters().unwrap_or_default();
    }
    let pressures = (depth == Depth::WithPressures).then(|| sandbox.pressures());
    Ok(Reading { counters, pressures })
}

fn unread(error: EngineError) -> ReadError {
    match error {
        EngineError::NotFound => ReadError::NotFound,
        EngineError::Step { step, source } => ReadError::Step { step, source },
        other => ReadError::Step { step: "read", source: io::Error::other(other) },
    }
}
