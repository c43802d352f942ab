//! `GET /events/webhooks/{id}/dead-letters`: what ran out of attempts.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::replay::{DeadLetter, DeadLetters};

use super::webhook_get::OwnWebhook;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

const DEFAULT_LIMIT: u32 = 25;

/// Deliveries that are out of attempts, oldest event first. A replay of what failed sends them again; those that
/// arrive are no longer listed.
#[utoipa::path(
    get,
    path = paths::WEBHOOK_DEAD_LETTERS,
    tag = "webhooks",
    params(
        ("webhookID" = uuid::Uuid, Path),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 25"),
    ),
    responses((status = 200, description = "A page of them", body = DeadLetters))
)]
pub(crate) async fn list_webhook_dead_letters(
    State(app): State<App>,
    OwnWebhook(webhook): OwnWebhook,
    query: Query,
) -> Result<Json<DeadLetters>, ApiError> {
    let limit = query.limit(DEFAULT_LIMIT)?;
    let cursor = query.first("cursor").filter(|text| !text.is_empty());
    let after = cursor.map_or(Ok(0), |text| {
        let number = text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| ApiError::bad_request("Invalid cursor"))
    })?;
    let mut letters =
        app.store.deliveries.dead_letters(webhook.team_id, webhook.id, after, limit + 1).await?;
    let more = letters.len() > limit as usize;
    letters.truncate(limit as usize);
    let last = letters.last().filter(|_| more);
    let next_cursor = last.map(|letter| letter.event.sequence.to_string());
    let data = letters.iter().map(|letter| DeadLetter {
        event_id: letter.event.id,
        event_type: letter.event.event_type().to_string(),
        sandbox_id: letter.event.sandbox_id().map(ToString::to_string),
        attempts: letter.n_attempts,
        timestamp: letter.event.timestamp,
    });
    Ok(Json(DeadLetters { data: data.collect(), next_cursor }))
}
