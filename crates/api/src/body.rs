//! Request bodies: read whole, up to a bound in bytes and in time, whether their length was announced or not.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::App;
use crate::error::ApiError;

/// Longest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Longest time a client may take to send a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body as it came.
#[derive(Debug)]
pub(crate) struct RawBody(pub(crate) Bytes);

impl FromRequest<App> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n > MAX_BODY_BYTES as u64) {
            return Err(too_large());
        }
        read(request.into_body()).await.map(Self)
    }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let collecting = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collecting).await {
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::bad_request("the request body could not be read")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

fn too_large() -> ApiError {
    let message = format!("the request body is larger than {MAX_BODY_BYTES} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// What the message of a body that cannot be understood begins with.
pub(crate) const PARSING: &str = "Error when parsing request: ";

/// Reads `bytes` as a JSON object.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let message = |reason: &str| ApiError::bad_request(format!("{PARSING}{reason}"));
    // A list would be read as the fields in order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(message("expected a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| message(&error.to_string()))
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let RawBody(bytes) = RawBody::from_request(request, app).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may also be left out, or be `null`.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let RawBody(bytes) = RawBody::from_request(request, app).await?;
        match bytes.trim_ascii() {
            b"" | b"null" => Ok(Self(T::default())),
            object => parse(object).map(Self),
        }
    }
}
