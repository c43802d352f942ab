//! `POST /sandboxes/{id}/pause`: stops every process; memory and files are kept.

use axum::extract::State;
use http::StatusCode;
use sandscope_model::{SandboxId, StateName};
use sandscope_wire::request::SandboxPauseRequest;

use crate::auth::Caller;
use crate::body::OptionalJson;
use crate::error::{ApiError, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

/// Clients distinguish "already paused" from other conflicts by the status alone, people by the words.
fn denied(id: &SandboxId, state: StateName) -> String {
    match state {
        StateName::Paused | StateName::Pausing => {
            format!("Error pausing sandbox - sandbox '{id}' is already paused")
        }
        other => format!("Sandbox '{id}' cannot be paused while in '{other}' state"),
    }
}

/// Stops every process of a sandbox; memory and files are kept.
#[utoipa::path(
    post,
    path = paths::SANDBOX_PAUSE,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    request_body = Option<SandboxPauseRequest>,
    responses((status = 204, description = "It is paused"))
)]
pub(crate) async fn pause_sandbox(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    OptionalJson(request): OptionalJson<SandboxPauseRequest>,
) -> Result<StatusCode, ApiError> {
    if request.memory == Some(false) {
        return Err(ApiError::not_implemented("option 'memory: false'"));
    }
    caller
        .lives(&app)
        .pause(caller.team.id, &id)
        .await
        .map_err(|error| of_request(&id, error, |state| denied(&id, state)))?;
    Ok(StatusCode::NO_CONTENT)
}
