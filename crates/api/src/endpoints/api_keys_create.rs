//! `POST /api-keys`: makes a key. The answer is the only one that ever carries it.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::{ApiKey, ApiKeyId, KeyMask};
use sandscope_store::NewApiKey;
use sandscope_wire::key::{ApiKeyName, CreatedTeamApiKey, TeamApiKey};

use crate::auth::{self, Caller};
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::{App, paths};

const BAD_NAME: &str = "name must be 1 to 128 characters long";
const PREFIX: &str = "e2b_";

/// Random bytes of a key: 40 hexadecimal digits.
const N_BYTES: usize = 20;

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
    let mut bytes = [0; N_BYTES];
    app.entropy.fill(&mut bytes);
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{PREFIX}{digits}");
    let key = ApiKey {
        id: ApiKeyId::generate(&*app.entropy),
        team_id: caller.team.id,
        name,
        mask: KeyMask {
            prefix: PREFIX.to_owned(),
            value_length: u32::try_from(digits.len()).unwrap_or(u32::MAX),
            masked_value_prefix: digits.chars().take(2).collect(),
            masked_value_suffix: digits.chars().skip(digits.len() - 4).collect(),
        },
        created_at: app.clock.now(),
        last_used_at: None,
    };
    let about = TeamApiKey::from(&key);
    app.store.insert_api_key(NewApiKey { key, hash: auth::hash(&text) }).await?;
    Ok((StatusCode::CREATED, Json(CreatedTeamApiKey { key: text, about })))
}

pub(super) fn checked_name(body: ApiKeyName) -> Result<String, ApiError> {
    if (1..=128).contains(&body.name.chars().count()) {
        Ok(body.name)
    } else {
        Err(ApiError::bad_request(BAD_NAME))
    }
}
