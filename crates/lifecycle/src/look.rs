//! A close look at one sandbox: what is known about it now. Asks the engine past the sandbox's driver, which
//! may be busy with a change.

use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::ReadError;
use sandscope_lives::Look;
use sandscope_model::{Details, Process, Sandbox, SandboxId, TeamId};

use crate::RequestError;
use crate::lifecycle::Lifecycle;

/// How long the processes are watched: their CPU time is counted in hundredths of a second.
const WATCH: Duration = Duration::from_secs(1);

impl Lifecycle {
    /// Everything the kernel says about a sandbox, running or paused.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if it is gone, [`RequestError::Unreadable`] if it cannot be read.
    pub async fn details(&self, team: TeamId, id: &SandboxId) -> Result<Look<Details>, RequestError> {
        let sandbox = self.looked_at(team, id)?;
        let at = self.context.clock.now();
        let found = self.context.readings.details(id).await.map_err(unreadable)?;
        Ok(Look { sandbox, at, found })
    }

    /// A sandbox's processes, the busiest first, watched for a second.
    ///
    /// # Errors
    /// As [`details`](Self::details).
    pub async fn processes(&self, team: TeamId, id: &SandboxId) -> Result<Look<Vec<Process>>, RequestError> {
        let sandbox = self.looked_at(team, id)?;
        let (clock, readings) = (&self.context.clock, &self.context.readings);
        let first = clock.uptime();
        let before = readings.processes(id).await.map_err(unreadable)?;
        clock.sleep(WATCH).await;
        let (at, elapsed) = (clock.now(), clock.uptime().since(first));
        let second = readings.processes(id).await.map_err(unreadable)?;
        Ok(Look { sandbox, at, found: Process::between(&before, second, elapsed) })
    }

    fn looked_at(&self, team: TeamId, id: &SandboxId) -> Result<Arc<Sandbox>, RequestError> {
        let handle = self.context.registry.known(Some(team), id).ok_or(RequestError::NotFound)?;
        Ok(handle.sandbox())
    }
}

fn unreadable(error: ReadError) -> RequestError {
    match error {
        ReadError::NotFound => RequestError::NotFound,
        error @ ReadError::Step { .. } => RequestError::Unreadable(error),
    }
}
