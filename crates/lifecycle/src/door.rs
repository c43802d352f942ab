//! The door to the lives of this machine's sandboxes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandscope_lives::{
    Connected, CreateCounts, CreateError, CreateRequest, Created, DeleteTemplateError, DialError, Dialed,
    Lives, Look, RequestError, Snapshot, SnapshotName, Waking,
};
use sandscope_model::{Details, KillReason, Origin, Process, Sandbox, SandboxId, Team, TeamId};
use sandscope_store::DeleteTemplate;

use crate::Lifecycle;
use crate::failure::record;

#[async_trait]
impl Lives for Lifecycle {
    fn on_behalf_of(&self, origin: Origin) -> Arc<dyn Lives> {
        Arc::new(self.on_behalf_of(origin))
    }

    fn envd_version(&self) -> &'static str {
        self.envd_version()
    }

    fn create_counts(&self) -> CreateCounts {
        self.create_counts()
    }

    async fn sandbox(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.sandbox(id)
    }

    fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.sandboxes()
    }

    async fn create(&self, team: &Team, request: CreateRequest) -> Result<Created, CreateError> {
        Ok(self.create(team, request).await?)
    }

    async fn kill(&self, team: TeamId, id: &SandboxId, reason: KillReason) -> Result<(), RequestError> {
        Ok(self.kill(team, id, reason).await?)
    }

    async fn pause(&self, team: TeamId, id: &SandboxId) -> Result<(), RequestError> {
        Ok(self.pause(team, id).await?)
    }

    async fn resume(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Arc<Sandbox>, RequestError> {
        Ok(self.resume(team, id, timeout).await?)
    }

    async fn connect(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Connected, RequestError> {
        Ok(self.connect(team, id, timeout).await?)
    }

    async fn carry_on(
        &self,
        team: &Team,
        id: &SandboxId,
        otherwise: Duration,
    ) -> Result<Connected, RequestError> {
        Ok(self.carry_on(team, id, otherwise).await?)
    }

    async fn set_timeout(&self, team: &Team, id: &SandboxId, timeout: Duration) -> Result<(), RequestError> {
        Ok(self.set_timeout(team, id, timeout).await?)
    }

    async fn refresh(&self, team: &Team, id: &SandboxId, duration: Duration) -> Result<(), RequestError> {
        Ok(self.refresh(team, id, duration).await?)
    }

    async fn checkpoint(
        &self,
        team: &Team,
        id: &SandboxId,
        name: Option<SnapshotName>,
    ) -> Result<Snapshot, RequestError> {
        Ok(self.checkpoint(team, id, name).await?)
    }

    async fn delete_template(&self, team: &Team, reference: &str) -> Result<(), DeleteTemplateError> {
        let deleted = self.delete_template(team, reference).await;
        match deleted.map_err(|error| DeleteTemplateError::Record(record(error)))? {
            DeleteTemplate::Deleted(_) => Ok(()),
            DeleteTemplate::NotFound => Err(DeleteTemplateError::NotFound),
            DeleteTemplate::InUse => Err(DeleteTemplateError::InUse),
            DeleteTemplate::Shipped => Err(DeleteTemplateError::Shipped),
        }
    }

    async fn details(&self, team: TeamId, id: &SandboxId) -> Result<Look<Details>, RequestError> {
        Ok(self.details(team, id).await?)
    }

    async fn processes(&self, team: TeamId, id: &SandboxId) -> Result<Look<Vec<Process>>, RequestError> {
        Ok(self.processes(team, id).await?)
    }

    async fn dial(&self, id: &SandboxId, port: u16, waking: Waking) -> Result<Dialed, DialError> {
        self.dial(id, port, waking).await
    }
}
