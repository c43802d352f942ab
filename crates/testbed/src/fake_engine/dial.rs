//! Connections into the fake's sandboxes: to listeners of the test's.

use async_trait::async_trait;
use sandscope_engine::{Connection, Dial, DialFailure};
use sandscope_model::SandboxId;
use tokio::net::TcpStream;

use super::{FakeEngine, Shape};

#[async_trait]
impl Dial for FakeEngine {
    async fn dial(&self, id: &SandboxId, port: u16) -> Result<Connection, DialFailure> {
        self.live().await;
        let (address, tunnels) = {
            let state = self.lock();
            if !state.sandboxes.get(id).is_some_and(|sandbox| sandbox.shape == Shape::Running) {
                return Err(DialFailure::NotRunning);
            }
            let own = state.listeners.get(&(Some(id.clone()), port));
            let address = own.or_else(|| state.listeners.get(&(None, port)));
            (address.copied().ok_or(DialFailure::PortClosed)?, state.tunnels)
        };
        let stream = TcpStream::connect(address).await.map_err(|_| DialFailure::PortClosed)?;
        Ok(if tunnels { Connection::Tunnel(Box::new(stream)) } else { stream.into() })
    }
}
