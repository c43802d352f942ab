//! `DELETE /sandboxes/{id}`: ends a sandbox, running or paused.

use axum::extract::State;
use http::StatusCode;
use sandscope_model::KillReason;

use crate::auth::Caller;
use crate::error::{ApiError, denied_in_state, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

/// Ends a sandbox, running or paused.
#[utoipa::path(
    delete,
    path = paths::SANDBOX,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    responses((status = 204, description = "It is gone"))
)]
pub(crate) async fn kill_sandbox(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
) -> Result<StatusCode, ApiError> {
    caller
        .lives(&app)
        .kill(caller.team.id, &id, KillReason::Request)
        .await
        .map_err(|error| of_request(&id, error, denied_in_state(&id, "killed")))?;
    Ok(StatusCode::NO_CONTENT)
}
