//! `POST /api-keys`: makes a key. The answer is the only one that ever carries it.

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::keys;
use sandscope_store::NewApiKey;
use sandscope_wire::key::{ApiKeyName, CreatedTeamApiKey, TeamApiKey};

use crate::auth::Caller;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::{App, paths};

const BAD_NAME: &str = "name must be 1 to 128 characters long";

/// Makes a key. The answer is the only one that ever carries it.
#[utoipa::path(
    post,
    path = paths::API_KEYS,
    tag = "teams",
    request_body = ApiKeyName,
    responses((status = 201, description = "The key", body = CreatedTeamApiKey))
)]
pub(crate) async fn create_api_key(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<ApiKeyName>,
) -> Result<(StatusCode, Json<CreatedTeamApiKey>), ApiError> {
    let name = checked_name(body)?;
    let entropy = &*app.entropy;
    let fresh = keys::describe(keys::draw(entropy), caller.team.id, &name, app.clock.now(), entropy);
    let about = TeamApiKey::from(&fresh.key);
    app.store.facts.insert_api_key(NewApiKey { key: fresh.key, hash: fresh.hash }).await?;
    let key = fresh.text.expose().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedTeamApiKey { key, about })))
}

pub(super) fn checked_name(body: ApiKeyName) -> Result<String, ApiError> {
    if (1..=128).contains(&body.name.chars().count()) {
        Ok(body.name)
    } else {
        Err(ApiError::bad_request(BAD_NAME))
    }
}
