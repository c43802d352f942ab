//! `GET /sandboxes/{id}/metrics/extended`: everything the kernel knows about a sandbox now.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::details::SandboxDetails;

use crate::auth::Caller;
use crate::error::{ApiError, denied_in_state, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

/// Everything the kernel knows about a sandbox now, running or paused; `null` where it does not say.
#[utoipa::path(
    get,
    path = paths::SANDBOX_DETAILS,
    tag = "metrics",
    params(("sandboxID" = String, Path)),
    responses((status = 200, description = "The readings", body = SandboxDetails))
)]
pub(crate) async fn get_sandbox_details(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
) -> Result<Json<SandboxDetails>, ApiError> {
    let look = app.lives.details(caller.team.id, &id).await;
    let look = look.map_err(|error| of_request(&id, error, denied_in_state(&id, "read")))?;
    Ok(Json(SandboxDetails::new(&look.sandbox, look.at, &look.found)))
}
