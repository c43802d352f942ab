use std::sync::Arc;
use std::time::Duration;

use sandscope_lives::{Connected, CreateCounts, Snapshot, SnapshotName};
use sandscope_model::{KillReason, Origin, Sandbox, SandboxId, Team, TeamId};
use sandscope_store::{DeleteTemplate, StoreError};
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};

use crate::RequestError;
use crate::admission::Ask;
use crate::context::{Context, Handle};
use crate::create::too_long;
use crate::request::{Envelope, Lease, Reply, Request};

/// How long [`Lifecycle::drain`] waits for what is under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long a kill waits for room in a full queue.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// The lives of all sandboxes. Clones share them.
#[derive(Clone)]
pub struct Lifecycle {
    pub(crate) context: Arc<Context>,
    /// Who asks through this handle.
    pub(crate) origin: Origin,
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle").finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// A handle for whoever `origin` names: what is asked for through it is reported as theirs.
    pub fn on_behalf_of(&self, origin: Origin) -> Self {
        Self { context: Arc::clone(&self.context), origin }
    }

    /// Version of the envd protocol that the sandboxes' agents speak.
    pub fn envd_version(&self) -> &'static str {
        self.context.engine.profile().envd_version
    }

    /// How making sandboxes has been going.
    pub fn create_counts(&self) -> CreateCounts {
        self.context.creates.counts()
    }

    /// A live sandbox, from memory. `None` for one that is gone or that no client knows yet.
    pub fn sandbox(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.context.registry.known(None, id).map(|handle| handle.sandbox())
    }

    /// Ends a sandbox, running or paused. Callers that come while it is ending wait and get the same answer.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if it is gone already. After [`RequestError::Engine`] killing goes on.
    pub async fn kill(&self, team: TeamId, id: &SandboxId, reason: KillReason) -> Result<(), RequestError> {
        self.ask(team, id, |reply| Request::Kill { reason, reply }).await
    }

    /// Pauses a running sandbox.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused. After [`RequestError::Engine`] it runs on.
    pub async fn pause(&self, team: TeamId, id: &SandboxId) -> Result<(), RequestError> {
        self.ask(team, id, |reply| Request::Pause { reply }).await
    }

    /// Resumes a paused sandbox, for `timeout` from now.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it runs. After [`RequestError::Engine`] it is still paused.
    pub async fn resume(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Arc<Sandbox>, RequestError> {
        let lease = lease(team, timeout)?;
        self.ask(team.id, id, |reply| Request::Resume { lease, reply }).await
    }

    /// Sees to it that a sandbox runs for at least `timeout` from now: resumes a paused one, extends the time of a
    /// running one. Publishes `resumed` or `updated`.
    ///
    /// # Errors
    /// As [`resume`](Self::resume), but for a running one.
    pub async fn connect(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Connected, RequestError> {
        let lease = lease(team, timeout)?;
        self.ask(team.id, id, |reply| Request::Connect { lease, reply }).await
    }

    /// Sees to it that a sandbox runs: resumes a paused one for the time that it had left, or for `otherwise` if none was
    /// left. A running one's time stays as it is. Publishes `resumed`, or nothing.
    ///
    /// # Errors
    /// As [`resume`](Self::resume), but for a running one.
    pub async fn carry_on(
        &self,
        team: &Team,
        id: &SandboxId,
        otherwise: Duration,
    ) -> Result<Connected, RequestError> {
        let otherwise = lease(team, otherwise)?;
        self.ask(team.id, id, |reply| Request::CarryOn { otherwise, reply }).await
    }

    /// Lets a running sandbox's time end `timeout` from now, sooner or later than before. Zero ends it now.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused.
    pub async fn set_timeout(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        lease(team, timeout)?;
        self.ask(team.id, id, |reply| Request::SetTimeout { timeout, reply }).await
    }

    /// Lets a running sandbox live for at least `duration` from now; never shortens its time.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused.
    pub async fn refresh(&self, team: &Team, id: &SandboxId, duration: Duration) -> Result<(), RequestError> {
        lease(team, duration)?;
        self.ask(team.id, id, |reply| Request::Refresh { duration, reply }).await
    }

    /// Takes a snapshot of a running sandbox, which runs on. A name the team already uses gets a new build.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused. Nothing of the snapshot remains.
    pub async fn checkpoint(
        &self,
        team: &Team,
        id: &SandboxId,
        name: Option<SnapshotName>,
    ) -> Result<Snapshot, RequestError> {
        self.ask(team.id, id, |reply| Request::Checkpoint { name, reply }).await
    }

    /// Deletes a template or snapshot of the team, and the layers captured for it.
    ///
    /// # Errors
    /// If the store cannot be written; nothing is deleted then.
    pub async fn delete_template(&self, team: &Team, reference: &str) -> Result<DeleteTemplate, StoreError> {
        let deleted = self.context.facts.delete_template(team.id, reference).await?;
        if let DeleteTemplate::Deleted(builds) = &deleted {
            for build_id in builds {
                // The rows are gone: a layer that stays behind takes room but can do no harm.
                if let Err(error) = self.context.engine.remove_layer(*build_id).await {
                    tracing::error!(%build_id, %error, "a captured layer remains");
                }
            }
        }
        Ok(deleted)
    }

    /// Admits no more requests, finishes what is under way, and lets go of the sandboxes, which live on. Returns
    /// after ten seconds at the latest: what is not recorded by then is found out by the next start.
    pub async fn drain(&self) {
        self.context.draining.cancel();
        self.context.tasks.close();
        if tokio::time::timeout(DRAIN_LIMIT, self.context.tasks.wait()).await.is_err() {
            tracing::warn!(n_tasks = self.context.tasks.len(), "not everything could be finished");
        }
        self.context.abandoned.cancel();
    }

    async fn ask<T: Send + 'static>(
        &self,
        team: TeamId,
        id: &SandboxId,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T, RequestError> {
        let handle = self.context.registry.known(Some(team), id).ok_or(RequestError::NotFound)?;
        self.ask_handle(&handle, request).await
    }

    pub(crate) async fn ask_handle<T: Send + 'static>(
        &self,
        handle: &Handle,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T, RequestError> {
        if self.context.draining.is_cancelled() {
            return Err(RequestError::Draining);
        }
        let (reply, answer) = Reply::new();
        let (asked_at, origin) = (self.context.clock.uptime(), self.origin.clone());
        let envelope = Envelope { asked_at, origin, request: request(reply) };
        let sent = match handle.requests.try_send(envelope) {
            // Ending a sandbox must be possible also while others flood it.
            Err(TrySendError::Full(envelope)) if envelope.request.ask() == Ask::Kill => {
                handle.requests.send_timeout(envelope, KILL_WAIT).await.map_err(|error| match error {
                    SendTimeoutError::Timeout(_) => RequestError::Busy,
                    SendTimeoutError::Closed(_) => self.gone(handle).unwrap_or(RequestError::Busy),
                })
            }
            Err(TrySendError::Full(_)) => Err(RequestError::Busy),
            Err(TrySendError::Closed(_)) => Err(self.gone(handle).unwrap_or(RequestError::Busy)),
            Ok(()) => Ok(()),
        };
        sent?;
        answer.await.unwrap_or_else(|_| Err(self.gone(handle).unwrap_or(RequestError::Broken)))
    }

    /// Why a driver did not answer: the sandbox is gone, or the server is about to be. `None`: the driver failed, and
    /// another takes over.
    fn gone(&self, handle: &Handle) -> Option<RequestError> {
        if self.context.draining.is_cancelled() {
            return Some(RequestError::Draining);
        }
        let is_driven = self.context.registry.any(&handle.sandbox().id).is_some();
        (!is_driven).then_some(RequestError::NotFound)
    }
}

fn lease(team: &Team, timeout: Duration) -> Result<Lease, RequestError> {
    match too_long(team, timeout) {
        Some(max_hours) => Err(RequestError::TimeoutTooLong { max_hours }),
        None => Ok(Lease { timeout, max_concurrent: team.limits.max_concurrent_sandboxes }),
    }
}
