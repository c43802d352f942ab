//! `GET /events/webhooks/{id}/deliveries/{deliveryID}`: one try; `POST …/resend`: its event once more.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::{Attempt, DeliveryId, ReplayId, ReplayState, Selection, TeamId, WebhookId};
use sandscope_wire::delivery::WebhookDelivery;
use sandscope_wire::replay::Replay;

use super::webhook_get::find;
use super::webhook_replays::start;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::WebhookPartPath;
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
    caller: Caller,
    path: WebhookPartPath<DeliveryId>,
) -> Result<Json<WebhookDelivery>, ApiError> {
    find(&app, caller.team.id, path.webhook).await?;
    let attempt = attempt(&app, caller.team.id, path.webhook, path.part).await?;
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
    caller: Caller,
    path: WebhookPartPath<DeliveryId>,
) -> Result<(StatusCode, Json<Replay>), ApiError> {
    let webhook = find(&app, caller.team.id, path.webhook).await?;
    let attempt = attempt(&app, caller.team.id, path.webhook, path.part).await?;
    if app.store.event(caller.team.id, attempt.sequence).await?.is_none() {
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

async fn attempt(app: &App, team: TeamId, webhook: WebhookId, id: DeliveryId) -> Result<Attempt, ApiError> {
    let found = app.store.attempt(team, webhook, id).await?;
    found.ok_or_else(|| ApiError::not_found(NOT_FOUND))
}
