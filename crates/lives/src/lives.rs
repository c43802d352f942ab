use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandscope_model::{Details, KillReason, Origin, Process, Sandbox, SandboxId, Team, TeamId};

use crate::{
    Connected, CreateCounts, CreateError, CreateRequest, Created, DeleteTemplateError, DialError, Dialed,
    Look, RequestError, Snapshot, SnapshotName, Waking,
};

/// The lives of all sandboxes.
///
/// A request that was accepted is carried out even if the caller goes away. What changes is recorded, together with
/// its event, before the answer is given.
#[async_trait]
pub trait Lives: Send + Sync + 'static {
    /// The same lives, for whoever `origin` names: events name them as who asked.
    fn on_behalf_of(&self, origin: Origin) -> Arc<dyn Lives>;

    /// Version of the envd protocol that the sandboxes' agents speak.
    fn envd_version(&self) -> &'static str;

    /// How many sandboxes were made since the start.
    fn create_counts(&self) -> CreateCounts;

    /// A live sandbox, from memory. `None` for one that is gone or not made yet.
    async fn sandbox(&self, id: &SandboxId) -> Option<Arc<Sandbox>>;

    /// Every live sandbox, from memory, in no order.
    fn sandboxes(&self) -> Vec<Arc<Sandbox>>;

    /// Makes a sandbox. It runs and is recorded when this returns.
    ///
    /// # Errors
    /// See [`CreateError`]; nothing of the sandbox remains.
    async fn create(&self, team: &Team, request: CreateRequest) -> Result<Created, CreateError>;

    /// Ends a sandbox, running or paused. Callers that come while it is ending wait and get the same answer.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if it is gone already. After [`RequestError::Host`] killing goes on.
    async fn kill(&self, team: TeamId, id: &SandboxId, reason: KillReason) -> Result<(), RequestError>;

    /// Pauses a running sandbox.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused. After [`RequestError::Host`] it runs on.
    async fn pause(&self, team: TeamId, id: &SandboxId) -> Result<(), RequestError>;

    /// Resumes a paused sandbox, for `timeout` from now.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it runs. After [`RequestError::Host`] it is still paused.
    async fn resume(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Arc<Sandbox>, RequestError>;

    /// Sees to it that a sandbox runs for at least `timeout` from now: resumes a paused one, extends the time of a
    /// running one.
    ///
    /// # Errors
    /// As [`resume`](Self::resume), but for a running one.
    async fn connect(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Connected, RequestError>;

    /// Sees to it that a sandbox runs: resumes a paused one for the time that it had left when it was paused, or for
    /// `otherwise` if none was left. A running one's time stays as it is.
    ///
    /// # Errors
    /// As [`resume`](Self::resume), but for a running one.
    async fn carry_on(
        &self,
        team: &Team,
        id: &SandboxId,
        otherwise: Duration,
    ) -> Result<Connected, RequestError>;

    /// Lets a running sandbox's time end `timeout` from now, sooner or later than before. Zero ends it now.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused.
    async fn set_timeout(&self, team: &Team, id: &SandboxId, timeout: Duration) -> Result<(), RequestError>;

    /// Lets a running sandbox live for at least `duration` from now; never shortens its time.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused.
    async fn refresh(&self, team: &Team, id: &SandboxId, duration: Duration) -> Result<(), RequestError>;

    /// Takes a snapshot of a running sandbox, which runs on. A name the team already uses gets a new build.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if it is paused. Nothing of the snapshot remains.
    async fn checkpoint(
        &self,
        team: &Team,
        id: &SandboxId,
        name: Option<SnapshotName>,
    ) -> Result<Snapshot, RequestError>;

    /// Deletes a template or snapshot of the team, and the layers captured for it.
    ///
    /// # Errors
    /// See [`DeleteTemplateError`]; nothing is deleted then.
    async fn delete_template(&self, team: &Team, reference: &str) -> Result<(), DeleteTemplateError>;

    /// Everything the host says about a sandbox, running or paused.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if it is gone, [`RequestError::Unreadable`] if it cannot be read.
    async fn details(&self, team: TeamId, id: &SandboxId) -> Result<Look<Details>, RequestError>;

    /// A sandbox's processes, the busiest first, watched for a second.
    ///
    /// # Errors
    /// As [`details`](Self::details).
    async fn processes(&self, team: TeamId, id: &SandboxId) -> Result<Look<Vec<Process>>, RequestError>;

    /// Connects to `127.0.0.1:port`, or else `[::1]:port`, inside a sandbox, which is resumed if it is paused,
    /// its owner wished so and `waking` allows it. Waits up to ten seconds for one that is between two states.
    ///
    /// # Errors
    /// See [`DialError`].
    async fn dial(&self, id: &SandboxId, port: u16, waking: Waking) -> Result<Dialed, DialError>;
}
