use bytes::Bytes;
use http::{Request, StatusCode};
use sandscope_agent_protocol::rest::{BOOT_TOKEN_HEADER, InitRequest};
use sandscope_engine::{Connection, LaunchSpec};
use sandscope_model::Secret;

use crate::{AgentLink, LinkError};

/// The first message to a sandbox's agent: who it is and what it may use.
///
/// # Errors
/// It cannot be written as JSON.
pub fn init_body(spec: &LaunchSpec) -> serde_json::Result<Bytes> {
    let request = InitRequest {
        access_token: spec.access_token.as_ref().map(|token| token.expose().to_owned()),
        env_vars: Some(spec.env_vars.clone()),
        default_user: Some("user".to_owned()),
        default_workdir: Some("/home/user".to_owned()),
        // The clock inside is the host's.
        timestamp: None,
        sandbox_id: Some(spec.id.to_string()),
        template_id: Some(spec.template_id.to_string()),
        cpu_count: Some(spec.vcpu_count),
        memory_bytes: Some(u64::from(spec.memory_mb) << 20),
    };
    Ok(serde_json::to_vec(&request)?.into())
}

/// Sends the first message to the agent at the other end. Waits as long as the agent does.
///
/// # Errors
/// See [`LinkError`]; [`LinkError::Refused`] if the boot token is not the agent's.
pub async fn initialise(connection: Connection, body: Bytes, boot_token: &Secret) -> Result<(), LinkError> {
    let request = Request::post("/init")
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(BOOT_TOKEN_HEADER, boot_token.expose());
    let mut link = AgentLink::over(connection).await?;
    link.exchange(request, body, StatusCode::NO_CONTENT).await.map(drop)
}
