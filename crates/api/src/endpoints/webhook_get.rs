//! `GET /events/webhooks/{id}`: one webhook.

use std::str::FromStr;

use crate::json::Json;
use axum::extract::{FromRequestParts, State};
use http::request::Parts;
use sandscope_model::{MalformedId, TeamId, Timestamp, Webhook, WebhookId};
use sandscope_store::Standing;
use sandscope_wire::webhook::{WebhookDetail, WebhookStatus};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::{WebhookPartPath, WebhookPath};
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
    OwnWebhook(webhook): OwnWebhook,
) -> Result<Json<WebhookDetail>, ApiError> {
    let standing = app.store.deliveries.webhook_standing(webhook.id).await?;
    let last_success = app.store.attempts.last_successes(webhook.team_id, vec![webhook.id]).await?;
    let last_success_at = last_success.get(&webhook.id).copied();
    let status = standing.map(|standing| status(&webhook, standing, last_success_at));
    Ok(Json(WebhookDetail { status, ..WebhookDetail::from(&webhook) }))
}

pub(super) fn status(
    webhook: &Webhook,
    standing: Standing,
    last_success_at: Option<Timestamp>,
) -> WebhookStatus {
    WebhookStatus {
        behind: if webhook.enabled { standing.last_sequence.saturating_sub(standing.cursor) } else { 0 },
        pending: standing.n_pending,
        exhausted: standing.n_exhausted,
        skipped: standing.n_skipped,
        failing_since: standing.health.failing_since,
        failed_attempts: standing.health.n_failed,
        last_success_at,
        disabled_reason: standing.health.disabled_reason,
    }
}

/// The caller's webhook that the path names.
pub(crate) struct OwnWebhook(pub(super) Webhook);

impl FromRequestParts<App> for OwnWebhook {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let WebhookPath(id) = WebhookPath::from_request_parts(parts, app).await?;
        find(app, caller.team.id, id).await.map(Self)
    }
}

/// The caller's webhook that the path names, and the id of something that belongs to it.
pub(crate) struct PartOfOwnWebhook<T> {
    pub(super) webhook: Webhook,
    pub(super) part: T,
}

impl<T: FromStr<Err = MalformedId> + Send> FromRequestParts<App> for PartOfOwnWebhook<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let WebhookPartPath { webhook, part } = WebhookPartPath::from_request_parts(parts, app).await?;
        Ok(Self { webhook: find(app, caller.team.id, webhook).await?, part })
    }
}

async fn find(app: &App, team: TeamId, id: WebhookId) -> Result<Webhook, ApiError> {
    app.store.deliveries.webhook(team, id).await?.ok_or_else(|| ApiError::not_found(NOT_FOUND))
}
