//! The way into running sandboxes for callers outside the engine.

use async_trait::async_trait;
use sandscope_engine::{Connection, Dial, DialFailure};
use sandscope_model::SandboxId;

use super::dial::dial;
use super::engine::NamespacesEngine;

#[async_trait]
impl Dial for NamespacesEngine {
    async fn dial(&self, id: &SandboxId, port: u16) -> Result<Connection, DialFailure> {
        let sandbox = self.shared.sandboxes.get(id).filter(|sandbox| sandbox.is_running());
        let live = sandbox.and_then(|sandbox| sandbox.live()).ok_or(DialFailure::NotRunning)?;
        dial(&self.shared.launcher, &live, port).await.map(Connection::Tcp)
    }
}
