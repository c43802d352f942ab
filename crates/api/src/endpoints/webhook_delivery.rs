//! `GET /events/webhooks/{id}/deliveries/{deliveryID}`: one try; `POST …/resend`: its event once more.

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::{Attempt, DeliveryId, ReplayId, ReplayState, Selection, Webhook};
use sandscope_wire::delivery::WebhookDelivery;
use sandscope_wire::replay::Replay;

use super::webhook_get::PartOfOwnWebhook;
use super::webhook_replays::start;
use crate::error::ApiError;
use crate::{App, paths};

const NOT_FOUND: &str = "Delivery not found";
const EVENT_GONE: &str = "The delivery's event is no longer kept";

/// One try to deliver something, with its request and the answer.
#[utoipa::path(
    get,
    path = paths::WEBHOOK_DELIVERY,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path), ("deliveryID" = uuid::Uuid, Path)),
    responses((status = 200, description = "The try", body = WebhookDelivery))
)]
pub(crate) async fn get_webhook_delivery(
    State(app): State<App>,
    PartOfOwnWebhook { webhook, part }: PartOfOwnWebhook<DeliveryId>,
) -> Result<Json<WebhookDelivery>, ApiError> {
    let attempt = attempt(&app, &webhook, part).await?;
    Ok(Json(WebhookDelivery::from(attempt)))
}

/// Sends the event of a try once more, with the retries of any delivery; answers the replay that does it.
#[utoipa::path(
    post,
    path = paths::WEBHOOK_RESEND,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path), ("deliveryID" = uuid::Uuid, Path)),
    responses((status = 202, description = "It will be sent", body = Replay))
)]
pub(crate) async fn resend_webhook_delivery(
    State(app): State<App>,
    PartOfOwnWebhook { webhook, part }: PartOfOwnWebhook<DeliveryId>,
) -> Result<(StatusCode, Json<Replay>), ApiError> {
    let attempt = attempt(&app, &webhook, part).await?;
    if app.store.events.event(webhook.team_id, attempt.sequence).await?.is_none() {
        return Err(ApiError::conflict(EVENT_GONE));
    }
    let replay = sandscope_model::Replay {
        id: ReplayId::generate(&*app.entropy),
        webhook_id: webhook.id,
        selection: Selection::All,
        first: attempt.sequence,
        last: attempt.sequence,
        next: attempt.sequence,
        rate_per_second: None,
        state: ReplayState::Running,
        n_selected: 0,
        n_delivered: 0,
        n_failed: 0,
        n_dropped: 0,
        created_at: app.clock.now(),
        finished_at: None,
    };
    start(&app, &webhook, replay).await
}

async fn attempt(app: &App, webhook: &Webhook, id: DeliveryId) -> Result<Attempt, ApiError> {
    let found = app.store.attempts.attempt(webhook.team_id, webhook.id, id).await?;
    found.ok_or_else(|| ApiError::not_found(NOT_FOUND))
}
