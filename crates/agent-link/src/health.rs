use bytes::Bytes;
use http::{Request, StatusCode};
use sandscope_engine::Connection;

use crate::{AgentLink, LinkError};

/// Asks the agent at the other end whether it answers. Waits as long as the agent does.
///
/// # Errors
/// See [`LinkError`].
pub async fn ask_health(connection: Connection) -> Result<(), LinkError> {
    let mut link = AgentLink::over(connection).await?;
    link.exchange(Request::get("/health"), Bytes::new(), StatusCode::NO_CONTENT).await.map(drop)
}
