//! `POST /sandboxes/{id}/timeout`: moves the end of a running sandbox's time, either way.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use sandscope_lives::RequestError;
use sandscope_wire::request::SandboxTimeoutRequest;

use crate::auth::Caller;
use crate::body::JsonBody;
use crate::error::{ApiError, denied_in_state, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

const TOO_LONG: &str = "Max instance length exceeded";

/// Moves the end of a running sandbox's time, either way.
#[utoipa::path(
    post,
    path = paths::SANDBOX_TIMEOUT,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    request_body = SandboxTimeoutRequest,
    responses((status = 204, description = "It is moved"))
)]
pub(crate) async fn set_sandbox_timeout(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    JsonBody(request): JsonBody<SandboxTimeoutRequest>,
) -> Result<StatusCode, ApiError> {
    // Clients say "now" with numbers below zero too.
    let timeout_s = u64::try_from(request.timeout).unwrap_or(0);
    caller.lives(&app).set_timeout(&caller.team, &id, Duration::from_secs(timeout_s)).await.map_err(
        |error| match error {
            RequestError::TimeoutTooLong { .. } => ApiError::bad_request(TOO_LONG),
            other => of_request(&id, other, denied_in_state(&id, "given another timeout")),
        },
    )?;
    Ok(StatusCode::NO_CONTENT)
}
