//! `GET /sandboxes/{id}/processes`: what runs in a sandbox, the busiest first.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::details::SandboxProcess;

use crate::auth::Caller;
use crate::error::{ApiError, denied_in_state, of_request};
use crate::query::Query;
use crate::segments::SandboxPath;
use crate::{App, paths};

/// What runs in a sandbox, the busiest first, watched for a second.
#[utoipa::path(
    get,
    path = paths::SANDBOX_PROCESSES,
    tag = "metrics",
    params(
        ("sandboxID" = String, Path),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "How many at most. Default: 20"),
    ),
    responses((status = 200, description = "The processes", body = [SandboxProcess]))
)]
pub(crate) async fn list_sandbox_processes(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    query: Query,
) -> Result<Json<Vec<SandboxProcess>>, ApiError> {
    let limit = usize::try_from(query.limit(20)?).unwrap_or(usize::MAX);
    let look = app.lives.processes(caller.team.id, &id).await;
    let look = look.map_err(|error| of_request(&id, error, denied_in_state(&id, "read")))?;
    Ok(Json(look.found.iter().take(limit).map(SandboxProcess::from).collect()))
}
