//! A close look at one sandbox: what the kernel says about it now. Asks the runtime past the sandbox's driver, which
//! may be busy with a change.

use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Details, Process, Sandbox, SandboxId, TeamId, Timestamp};
use sandscope_runtime::{Runtime, RuntimeError};

use crate::RequestError;
use crate::lifecycle::Lifecycle;

/// How long the processes are watched: their CPU time is counted in hundredths of a second.
const WATCH: Duration = Duration::from_secs(1);

/// What a look found.
#[derive(Debug, Clone)]
pub struct Look<T> {
    /// The sandbox as it stands.
    pub sandbox: Arc<Sandbox>,
    /// When it was looked at.
    pub at: Timestamp,
    /// What was found.
    pub found: T,
}

impl Lifecycle {
    /// Everything the kernel says about a sandbox, running or paused.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if it is gone, [`RequestError::Runtime`] if it cannot be read.
    pub async fn details(&self, team: TeamId, id: &SandboxId) -> Result<Look<Details>, RequestError> {
        let sandbox = self.looked_at(team, id)?;
        let at = self.context.clock.now();
        let found = self.read(id, |runtime, id| runtime.details(id)).await?;
        Ok(Look { sandbox, at, found })
    }

    /// A sandbox's processes, the busiest first, watched for a second.
    ///
    /// # Errors
    /// As [`details`](Self::details).
    pub async fn processes(&self, team: TeamId, id: &SandboxId) -> Result<Look<Vec<Process>>, RequestError> {
        let sandbox = self.looked_at(team, id)?;
        let clock = &self.context.clock;
        let first_at = clock.now();
        let first = self.read(id, |runtime, id| runtime.processes(id)).await?;
        clock.sleep(WATCH).await;
        let at = clock.now();
        let second = self.read(id, |runtime, id| runtime.processes(id)).await?;
        let elapsed = Duration::try_from(at.duration_since(first_at)).unwrap_or(WATCH);
        Ok(Look { sandbox, at, found: Process::between(&first, second, elapsed) })
    }

    fn looked_at(&self, team: TeamId, id: &SandboxId) -> Result<Arc<Sandbox>, RequestError> {
        let handle = self.context.registry.known(Some(team), id).ok_or(RequestError::NotFound)?;
        Ok(handle.sandbox())
    }

    /// Reads away from the threads that serve requests.
    async fn read<T: Send + 'static>(
        &self,
        id: &SandboxId,
        read: impl FnOnce(&dyn Runtime, &SandboxId) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let (runtime, id) = (Arc::clone(&self.context.runtime), id.clone());
        let reading = tokio::task::spawn_blocking(move || read(&*runtime, &id)).await;
        let failed = |error| RuntimeError::Step { step: "read", source: std::io::Error::other(error) };
        reading.unwrap_or_else(|error| Err(failed(error))).map_err(|error| match error {
            RuntimeError::NotFound => RequestError::NotFound,
            error => RequestError::Runtime(error),
        })
    }
}
