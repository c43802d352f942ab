//! `GET /sandboxes/{id}`: one sandbox in full.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::sandbox::SandboxDetail;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::SandboxPath;
use crate::{App, paths};

/// One sandbox in full, running or paused.
#[utoipa::path(
    get,
    path = paths::SANDBOX,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    responses((status = 200, description = "The sandbox", body = SandboxDetail))
)]
pub(crate) async fn get_sandbox(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
) -> Result<Json<SandboxDetail>, ApiError> {
    let sandbox = app.store.facts.sandbox(&id).await?.filter(|sandbox| sandbox.team_id == caller.team.id);
    sandbox
        .and_then(|sandbox| {
            SandboxDetail::new(&sandbox, app.lives.envd_version(), app.domain.as_deref(), app.clock.stamp())
        })
        .map(Json)
        .ok_or_else(|| ApiError::no_such_sandbox(id.as_str()))
}
