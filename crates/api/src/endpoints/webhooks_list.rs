//! `GET /events/webhooks`: the team's webhooks.

use crate::json::Json;
use axum::extract::State;
use sandscope_model::Webhook;
use sandscope_wire::webhook::WebhookDetail;

use super::webhook_get::status;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

/// The team's webhooks, without their secrets.
#[utoipa::path(
    get,
    path = paths::WEBHOOKS,
    tag = "webhooks",
    params(("status" = Option<bool>, Query, description = "Whether each says how its deliveries have been going. Default \
            `false`")),
    responses((status = 200, description = "The webhooks", body = [WebhookDetail]))
)]
pub(crate) async fn list_webhooks(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Json<Vec<WebhookDetail>>, ApiError> {
    let webhooks = app.store.deliveries.webhooks(caller.team.id).await?;
    if !query.flag("status")? {
        return Ok(Json(webhooks.iter().map(WebhookDetail::from).collect()));
    }
    let ids: Vec<_> = webhooks.iter().map(|webhook| webhook.id).collect();
    let mut standings = app.store.deliveries.webhook_standings(ids.clone()).await?;
    let last_success = app.store.attempts.last_successes(caller.team.id, ids).await?;
    let with_status = |webhook: &Webhook| {
        let last_success_at = last_success.get(&webhook.id).copied();
        let standing = standings.remove(&webhook.id);
        let status = standing.map(|standing| status(webhook, standing, last_success_at));
        WebhookDetail { status, ..WebhookDetail::from(webhook) }
    };
    Ok(Json(webhooks.iter().map(with_status).collect()))
}
