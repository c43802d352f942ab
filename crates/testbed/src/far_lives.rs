//! Sandboxes that live somewhere else: every request goes through, and connections lead there through a tunnel.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandscope_lives::{
    Connected, CreateCounts, CreateError, CreateRequest, Created, DeleteTemplateError, DialError, Dialed,
    Lives, Look, RequestError, Snapshot, SnapshotName, Waking,
};
use sandscope_model::{Details, KillReason, Origin, Process, Sandbox, SandboxId, Team, TeamId};

/// How much a tunnel holds in each direction, in bytes.
const TUNNEL: usize = 64 << 10;

/// Passes every request on to other lives. Clones share everything.
#[derive(Clone)]
pub struct FarLives {
    lives: Arc<dyn Lives>,
}

impl FarLives {
    /// Those that `lives` lets live.
    pub fn new(lives: Arc<dyn Lives>) -> Self {
        Self { lives }
    }
}

#[async_trait]
impl Lives for FarLives {
    fn on_behalf_of(&self, origin: Origin) -> Arc<dyn Lives> {
        Arc::new(Self { lives: self.lives.on_behalf_of(origin) })
    }

    fn envd_version(&self) -> &'static str {
        self.lives.envd_version()
    }

    fn create_counts(&self) -> CreateCounts {
        self.lives.create_counts()
    }

    async fn sandbox(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.lives.sandbox(id).await
    }

    fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.lives.sandboxes()
    }

    async fn create(&self, team: &Team, request: CreateRequest) -> Result<Created, CreateError> {
        self.lives.create(team, request).await
    }

    async fn kill(&self, team: TeamId, id: &SandboxId, reason: KillReason) -> Result<(), RequestError> {
        self.lives.kill(team, id, reason).await
    }

    async fn pause(&self, team: TeamId, id: &SandboxId) -> Result<(), RequestError> {
        self.lives.pause(team, id).await
    }

    async fn resume(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Arc<Sandbox>, RequestError> {
        self.lives.resume(team, id, timeout).await
    }

    async fn connect(
        &self,
        team: &Team,
        id: &SandboxId,
        timeout: Duration,
    ) -> Result<Connected, RequestError> {
        self.lives.connect(team, id, timeout).await
    }

    async fn carry_on(
        &self,
        team: &Team,
        id: &SandboxId,
        otherwise: Duration,
    ) -> Result<Connected, RequestError> {
        self.lives.carry_on(team, id, otherwise).await
    }

    async fn set_timeout(&self, team: &Team, id: &SandboxId, timeout: Duration) -> Result<(), RequestError> {
        self.lives.set_timeout(team, id, timeout).await
    }

    async fn refresh(&self, team: &Team, id: &SandboxId, duration: Duration) -> Result<(), RequestError> {
        self.lives.refresh(team, id, duration).await
    }

    async fn checkpoint(
        &self,
        team: &Team,
        id: &SandboxId,
        name: Option<SnapshotName>,
    ) -> Result<Snapshot, RequestError> {
        self.lives.checkpoint(team, id, name).await
    }

    async fn delete_template(&self, team: &Team, reference: &str) -> Result<(), DeleteTemplateError> {
        self.lives.delete_template(team, reference).await
    }

    async fn details(&self, team: TeamId, id: &SandboxId) -> Result<Look<Details>, RequestError> {
        self.lives.details(team, id).await
    }

    async fn processes(&self, team: TeamId, id: &SandboxId) -> Result<Look<Vec<Process>>, RequestError> {
        self.lives.processes(team, id).await
    }

    async fn dial(&self, id: &SandboxId, port: u16, waking: Waking) -> Result<Dialed, DialError> {
        let Dialed { connection: mut there, sandbox } = self.lives.dial(id, port, waking).await?;
        let (here, mut end) = tokio::io::duplex(TUNNEL);
        tokio::spawn(async move {
            // Ends with either side; both see it as the end of their connection.
            let _ = tokio::io::copy_bidirectional(&mut end, &mut there).await;
        });
        Ok(Dialed { connection: Box::new(here), sandbox })
    }
}
