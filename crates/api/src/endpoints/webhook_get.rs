//! `GET /events/webhooks/{id}`: one webhook.

use axum::Json;
use axum::extract::State;
use sandscope_model::{TeamId, Webhook, WebhookId};
use sandscope_wire::webhook::{WebhookDetail, WebhookStatus};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::WebhookPath;
use crate::{App, paths};

pub(super) const NOT_FOUND: &str = "Webhook not found";

/// One webhook, without its secret.
#[utoipa::path(
    get,
    path = paths::WEBHOOK,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path)),
    responses((status = 200, description = "The webhook", body = WebhookDetail))
)]
pub(crate) async fn get_webhook(
    State(app): State<App>,
    caller: Caller,
    WebhookPath(id): WebhookPath,
) -> Result<Json<WebhookDetail>, ApiError> {
    let webhook = find(&app, caller.team.id, id).await?;
    let standing = app.store.webhook_standing(id).await?;
    let status = standing.map(|standing| WebhookStatus {
        behind: if webhook.enabled { standing.last_sequence.saturating_sub(standing.cursor) } else { 0 },
        pending: standing.n_pending,
        exhausted: standing.n_exhausted,
        skipped: standing.n_skipped,
        failing_since: standing.health.failing_since,
        failed_attempts: standing.health.n_failed,
        disabled_reason: standing.health.disabled_reason,
    });
    Ok(Json(WebhookDetail { status, ..WebhookDetail::from(&webhook) }))
}

/// The team's webhook with that id.
pub(super) async fn find(app: &App, team: TeamId, id: WebhookId) -> Result<Webhook, ApiError> {
    app.store.webhook(team, id).await?.ok_or_else(|| ApiError::not_found(NOT_FOUND))
}
