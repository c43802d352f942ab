//! `GET /events/webhooks`: the team's webhooks.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::webhook::WebhookDetail;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::{App, paths};

/// The team's webhooks, without their secrets.
#[utoipa::path(
    get,
    path = paths::WEBHOOKS,
    tag = "webhooks",
    responses((status = 200, description = "The webhooks", body = [WebhookDetail]))
)]
pub(crate) async fn list_webhooks(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Vec<WebhookDetail>>, ApiError> {
    let webhooks = app.store.deliveries.webhooks(caller.team.id).await?;
    Ok(Json(webhooks.iter().map(WebhookDetail::from).collect()))
}
