//! Who operates the server: the admin token in `X-Admin-Token`, which no team has.
//!
//! Only its SHA-256 is compared, so that how long an answer takes says nothing about how much of a guess was right.

use axum::extract::FromRequestParts;
use http::request::Parts;
use sandscope_model::keys::hash;

use crate::App;
use crate::auth::KeyShown;
use crate::error::ApiError;

const HEADER: &str = "x-admin-token";

const NONE: &str = "authorization header is missing: operators ask with X-Admin-Token";
const UNKNOWN: &str = "Invalid admin token";
const UNSET: &str =
    "this server has no admin token: set SANDSCOPE_ADMIN_TOKEN, or ask on the operator's port";

/// The operator. An endpoint that takes one refuses everybody else.
#[derive(Debug)]
pub(crate) struct Admin;

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let presented = parts.headers.get(HEADER).ok_or_else(|| ApiError::unauthorized(NONE))?;
        let token = app.admin_token.as_ref().ok_or_else(|| ApiError::unauthorized(UNSET))?;
        let presented = presented.to_str().unwrap_or_default().trim();
        if hash(presented) != hash(token.expose()) {
            return Err(ApiError::unauthorized(UNKNOWN));
        }
        KeyShown::set_in(&parts.extensions);
        Ok(Self)
    }
}
