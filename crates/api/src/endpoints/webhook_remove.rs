//! `DELETE /events/webhooks/{id}`: nothing more is sent to it.

use axum::extract::State;
use http::StatusCode;

use super::webhook_get::NOT_FOUND;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::WebhookPath;
use crate::{App, paths};

/// Deletes a webhook: nothing more is sent to it.
#[utoipa::path(
    delete,
    path = paths::WEBHOOK,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path)),
    responses((status = 200, description = "It is gone"))
)]
pub(crate) async fn delete_webhook(
    State(app): State<App>,
    caller: Caller,
    WebhookPath(id): WebhookPath,
) -> Result<StatusCode, ApiError> {
    if app.store.deliveries.delete_webhook(caller.team.id, id).await? {
        Ok(StatusCode::OK)
    } else {
        Err(ApiError::not_found(NOT_FOUND))
    }
}
