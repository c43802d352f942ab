//! `GET /health`: whether the server takes requests, and all of it works.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use sandscope_wire::error::ErrorBody;

use crate::error::ApiError;
use crate::{App, Health, paths};

/// Whether the server takes requests.
#[utoipa::path(
    get,
    path = paths::HEALTH,
    tag = "server",
    security(()),
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (
            status = 503,
            description = "It is about to stop, or a part of it has failed and is being started again",
            content(
                (String = "text/plain"),
                (ErrorBody = "application/json"),
            ),
        ),
    )
)]
pub(crate) async fn health(State(app): State<App>) -> Response {
    if *app.health.borrow() == Health::Draining {
        return (StatusCode::SERVICE_UNAVAILABLE, "Service is unavailable").into_response();
    }
    if !app.tasks.in_trouble().is_empty() {
        // Which one is the operator's business.
        return ApiError::unwell().into_response();
    }
    (StatusCode::OK, "Health check successful").into_response()
}
