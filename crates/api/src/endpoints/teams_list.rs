//! `GET /teams`: the team of the presented key.

use crate::json::Json;
use sandscope_wire::key::Team;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::paths;

/// The team of the presented key. `apiKey` is that key again: nothing is minted.
#[utoipa::path(
    get,
    path = paths::TEAMS,
    tag = "teams",
    responses((status = 200, description = "One team", body = [Team]))
)]
pub(crate) async fn list_teams(caller: Caller) -> Result<Json<Vec<Team>>, ApiError> {
    Ok(Json(vec![Team {
        team_id: caller.team.id,
        name: caller.team.name,
        api_key: caller.key.expose().to_owned(),
        is_default: true,
    }]))
}
