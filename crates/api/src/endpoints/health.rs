//! `GET /health`: whether the server takes requests.

use axum::extract::State;
use http::StatusCode;

use crate::{App, Health, paths};

/// Whether the server takes requests.
#[utoipa::path(
    get,
    path = paths::HEALTH,
    tag = "server",
    security(()),
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "It is about to stop", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn health(State(app): State<App>) -> (StatusCode, &'static str) {
    match *app.health.borrow() {
        Health::Serving => (StatusCode::OK, "Health check successful"),
        Health::Draining => (StatusCode::SERVICE_UNAVAILABLE, "Service is unavailable"),
    }
}
