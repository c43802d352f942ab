//! `GET /api-keys`: the team's keys, without the keys.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::key::TeamApiKey;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::{App, paths};

/// The team's keys, without the keys.
#[utoipa::path(
    get,
    path = paths::API_KEYS,
    tag = "teams",
    responses((status = 200, description = "The keys", body = [TeamApiKey]))
)]
pub(crate) async fn list_api_keys(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Vec<TeamApiKey>>, ApiError> {
    let keys = app.store.facts.api_keys(caller.team.id).await?;
    Ok(Json(keys.iter().map(TeamApiKey::from).collect()))
}
