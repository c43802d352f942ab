//! `PATCH /api-keys/{id}`: renames a key.

use axum::extract::State;
use http::StatusCode;
use sandscope_wire::key::ApiKeyName;

use super::api_keys_create::checked_name;
use crate::auth::Caller;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::segments::ApiKeyPath;
use crate::{App, paths};

const NOT_FOUND: &str = "id not found";

/// Renames a key.
#[utoipa::path(
    patch,
    path = paths::API_KEY,
    tag = "teams",
    params(("apiKeyID" = uuid::Uuid, Path)),
    request_body = ApiKeyName,
    responses((status = 200, description = "It is renamed"))
)]
pub(crate) async fn rename_api_key(
    State(app): State<App>,
    caller: Caller,
    ApiKeyPath(id): ApiKeyPath,
    JsonBody(body): JsonBody<ApiKeyName>,
) -> Result<StatusCode, ApiError> {
    let renamed = app.store.facts.rename_api_key(caller.team.id, id, checked_name(body)?).await?;
    renamed.map(|_| StatusCode::OK).ok_or_else(|| ApiError::not_found(NOT_FOUND))
}
