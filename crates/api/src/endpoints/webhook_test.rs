//! `POST /events/webhooks/{id}/test`: sends a made-up event the way real ones go.

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_wire::delivery::WebhookDelivery;

use super::webhook_get::OwnWebhook;
use crate::error::ApiError;
use crate::{App, paths};

const BUSY: &str = "Too many tests are under way, try again";

/// Sends a made-up event (`"test": true` in its body) the way real ones go, also if the webhook is disabled, and
/// answers how that went. It is listed among the deliveries and never tried again.
#[utoipa::path(
    post,
    path = paths::WEBHOOK_TEST,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path)),
    responses((status = 200, description = "How the attempt went", body = WebhookDelivery))
)]
pub(crate) async fn test_webhook(
    State(app): State<App>,
    OwnWebhook(webhook): OwnWebhook,
) -> Result<Json<WebhookDelivery>, ApiError> {
    match (app.webhook_tester)(webhook).await {
        Some(attempt) => Ok(Json(WebhookDelivery::from(attempt))),
        None => Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, BUSY)),
    }
}
