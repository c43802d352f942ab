use async_trait::async_trait;
use sandscope_model::SandboxId;

use crate::Connection;

/// Connects into sandboxes.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects to `127.0.0.1:port` inside a running sandbox, or to `[::1]:port` where only that listens. The agent's
    /// port is IPv4 only. May be called at any time.
    ///
    /// # Errors
    /// See [`DialFailure`].
    async fn dial(&self, id: &SandboxId, port: u16) -> Result<Connection, DialFailure>;
}

/// Why a port of a sandbox could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialFailure {
    /// There is no such sandbox, or it is paused.
    #[error("no such running sandbox")]
    NotRunning,
    /// Nothing listens there.
    #[error("port is not open")]
    PortClosed,
    /// The connection could not be made, which says nothing about the sandbox.
    #[error("cannot make a connection into the sandbox")]
    Broken(#[source] std::io::Error),
}
