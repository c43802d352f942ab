//! `POST /sandboxes/{id}/refreshes`: keeps a running sandbox alive for a while; never shortens its time.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use sandscope_wire::request::SandboxRefreshRequest;

use crate::auth::Caller;
use crate::body::OptionalJson;
use crate::error::{ApiError, denied_in_state, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

const MIN_DURATION_S: u64 = 15;
const MAX_DURATION_S: u64 = 3600;
const OUT_OF_BOUNDS: &str = "Duration must be between 0 and 3600";

/// Keeps a running sandbox alive for a while; never shortens its time.
#[utoipa::path(
    post,
    path = paths::SANDBOX_REFRESHES,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    request_body = Option<SandboxRefreshRequest>,
    responses((status = 204, description = "It lives on"))
)]
pub(crate) async fn refresh_sandbox(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    OptionalJson(request): OptionalJson<SandboxRefreshRequest>,
) -> Result<StatusCode, ApiError> {
    let duration_s = u64::try_from(request.duration.unwrap_or(0))
        .ok()
        .filter(|duration_s| *duration_s <= MAX_DURATION_S)
        .ok_or_else(|| ApiError::bad_request(OUT_OF_BOUNDS))?;
    caller
        .lives(&app)
        .refresh(&caller.team, &id, Duration::from_secs(duration_s.max(MIN_DURATION_S)))
        .await
        .map_err(|error| of_request(&id, error, denied_in_state(&id, "refreshed")))?;
    Ok(StatusCode::NO_CONTENT)
}
