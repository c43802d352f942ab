//! `DELETE /api-keys/{id}`: the key stops working at once.

use axum::extract::State;
use http::StatusCode;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::ApiKeyPath;
use crate::{App, paths};

const NOT_FOUND: &str = "id not found";

/// Deletes a key: it stops working at once.
#[utoipa::path(
    delete,
    path = paths::API_KEY,
    tag = "teams",
    params(("apiKeyID" = uuid::Uuid, Path)),
    responses((status = 204, description = "It is gone"))
)]
pub(crate) async fn delete_api_key(
    State(app): State<App>,
    caller: Caller,
    ApiKeyPath(id): ApiKeyPath,
) -> Result<StatusCode, ApiError> {
    if app.store.facts.delete_api_key(caller.team.id, id, app.clock.now()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found(NOT_FOUND))
    }
}
