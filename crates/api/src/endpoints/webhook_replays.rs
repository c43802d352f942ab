//! Replays: `POST` and `GET /events/webhooks/{id}/replays`, `GET` and `DELETE …/{replayID}`.

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::{Replay as Model, ReplayId, ReplayState, Selection, Webhook, when};
use sandscope_wire::moment::Moment;
use sandscope_wire::replay::{NewReplay, Replay};

use super::webhook_get::{OwnWebhook, PartOfOwnWebhook};
use crate::body::OptionalJson;
use crate::error::ApiError;
use crate::{App, paths};

/// Replays of one webhook under way at once; they are made one after the other.
const MAX_RUNNING: u32 = 20;
const TOO_MANY: &str = "Too many replays of this webhook are under way";
const DISABLED: &str = "The webhook is disabled: enable it first";
const BAD_SELECTION: &str = "select must be failed or all";
const BAD_RANGE: &str = "since must not be after until";
const BAD_RATE: &str = "ratePerSecond must be 1 to 10000";
const NOT_FOUND: &str = "Replay not found";
const IS_OVER: &str = "The replay is over";

/// Sends events to a webhook again: a durable job that goes on after a restart.
#[utoipa::path(
    post,
    path = paths::WEBHOOK_REPLAYS,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path)),
    request_body = NewReplay,
    responses((status = 202, description = "It has begun", body = Replay))
)]
pub(crate) async fn create_webhook_replay(
    State(app): State<App>,
    OwnWebhook(webhook): OwnWebhook,
    OptionalJson(new): OptionalJson<NewReplay>,
) -> Result<(StatusCode, Json<Replay>), ApiError> {
    let selection = match new.select.as_deref() {
        None | Some("failed") => Selection::Failed,
        Some("all") => Selection::All,
        Some(_) => return Err(ApiError::bad_request(BAD_SELECTION)),
    };
    let now = app.clock.now();
    let time = |name: &str, given: Option<Moment>| {
        let message = || ApiError::bad_request(format!("{name} must be {}", when::FORMS));
        given.map(|given| given.at(now).ok_or_else(message)).transpose()
    };
    let since = time("since", new.since)?;
    let until = time("until", new.until)?.unwrap_or(now);
    if since.is_some_and(|since| since > until) {
        return Err(ApiError::bad_request(BAD_RANGE));
    }
    if new.rate_per_second.is_some_and(|rate| !(1..=10_000).contains(&rate)) {
        return Err(ApiError::bad_request(BAD_RATE));
    }
    // Nothing in the range: a replay that is over before it begins.
    let range = app.store.events.sequence_range(webhook.team_id, since, Some(until)).await?;
    let (first, last) = range.unwrap_or((1, 0));
    let replay = Model {
        id: ReplayId::generate(&*app.entropy),
        webhook_id: webhook.id,
        selection,
        first,
        last,
        next: first,
        rate_per_second: new.rate_per_second,
        state: if range.is_some() { ReplayState::Running } else { ReplayState::Done },
        n_selected: 0,
        n_delivered: 0,
        n_failed: 0,
        n_dropped: 0,
        created_at: now,
        finished_at: range.is_none().then_some(now),
    };
    start(&app, &webhook, replay).await
}

/// Stores a replay, which starts it.
pub(super) async fn start(
    app: &App,
    webhook: &Webhook,
    replay: Model,
) -> Result<(StatusCode, Json<Replay>), ApiError> {
    if !webhook.enabled {
        return Err(ApiError::conflict(DISABLED));
    }
    let answer = Replay::from(&replay);
    if app.store.deliveries.insert_replay(replay, MAX_RUNNING).await? {
        Ok((StatusCode::ACCEPTED, Json(answer)))
    } else {
        Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY))
    }
}

/// The webhook's replays of the last days, newest first, at most 100.
#[utoipa::path(
    get,
    path = paths::WEBHOOK_REPLAYS,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path)),
    responses((status = 200, description = "The replays", body = [Replay]))
)]
pub(crate) async fn list_webhook_replays(
    State(app): State<App>,
    OwnWebhook(webhook): OwnWebhook,
) -> Result<Json<Vec<Replay>>, ApiError> {
    let replays = app.store.deliveries.replays(webhook.id).await?;
    Ok(Json(replays.iter().map(Replay::from).collect()))
}

/// One replay, and how far it has come.
#[utoipa::path(
    get,
    path = paths::WEBHOOK_REPLAY,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path), ("replayID" = uuid::Uuid, Path)),
    responses((status = 200, description = "The replay", body = Replay))
)]
pub(crate) async fn get_webhook_replay(
    State(app): State<App>,
    PartOfOwnWebhook { webhook, part }: PartOfOwnWebhook<ReplayId>,
) -> Result<Json<Replay>, ApiError> {
    let replay = app.store.deliveries.replay(webhook.id, part).await?;
    let replay = replay.ok_or_else(|| ApiError::not_found(NOT_FOUND))?;
    Ok(Json(Replay::from(&replay)))
}

/// Ends a replay that is under way: what is being sent arrives, nothing more is sent.
#[utoipa::path(
    delete,
    path = paths::WEBHOOK_REPLAY,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path), ("replayID" = uuid::Uuid, Path)),
    responses((status = 200, description = "The replay", body = Replay))
)]
pub(crate) async fn cancel_webhook_replay(
    State(app): State<App>,
    PartOfOwnWebhook { webhook, part }: PartOfOwnWebhook<ReplayId>,
) -> Result<Json<Replay>, ApiError> {
    let canceled = app.store.deliveries.cancel_replay(webhook.id, part, app.clock.now()).await?;
    let replay = app.store.deliveries.replay(webhook.id, part).await?;
    match replay {
        None => Err(ApiError::not_found(NOT_FOUND)),
        Some(_) if !canceled => Err(ApiError::conflict(IS_OVER)),
        Some(replay) => Ok(Json(Replay::from(&replay))),
    }
}
