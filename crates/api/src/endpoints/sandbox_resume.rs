//! `POST /sandboxes/{id}/resume`: continues a paused sandbox. Newer clients use connect.

use std::time::Duration;

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::{SandboxId, StateName};
use sandscope_wire::request::ResumedSandbox;
use sandscope_wire::sandbox::Sandbox;

use crate::auth::Caller;
use crate::body::OptionalJson;
use crate::error::{ApiError, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

const DEFAULT_TIMEOUT_S: i64 = 15;
const TIMEOUT_NEGATIVE: &str = "Timeout must not be negative";

fn denied(id: &SandboxId, state: StateName) -> String {
    match state {
        StateName::Running => format!("Sandbox {id} is already running"),
        other => format!("Sandbox '{id}' cannot be resumed while in '{other}' state"),
    }
}

/// Continues a paused sandbox.
#[utoipa::path(
    post,
    path = paths::SANDBOX_RESUME,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    request_body = Option<ResumedSandbox>,
    responses((status = 201, description = "It runs", body = Sandbox))
)]
pub(crate) async fn resume_sandbox(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    OptionalJson(request): OptionalJson<ResumedSandbox>,
) -> Result<(StatusCode, Json<Sandbox>), ApiError> {
    let timeout_s = u64::try_from(request.timeout.unwrap_or(DEFAULT_TIMEOUT_S))
        .map_err(|_| ApiError::bad_request(TIMEOUT_NEGATIVE))?;
    let sandbox = caller
        .lives(&app)
        .resume(&caller.team, &id, Duration::from_secs(timeout_s))
        .await
        .map_err(|error| of_request(&id, error, |state| denied(&id, state)))?;
    let answer = Sandbox::new(&sandbox, app.lives.envd_version(), app.domain.as_deref());
    Ok((StatusCode::CREATED, Json(answer)))
}
