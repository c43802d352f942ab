//! `GET /events/webhooks/{id}/deliveries`: every try to deliver something to a webhook.

use crate::json::Json;
use axum::extract::State;
use sandscope_model::{DeliveryId, Timestamp};
use sandscope_store::{AttemptQuery, Order};
use sandscope_wire::cursor;
use sandscope_wire::delivery::WebhookDeliveries;

use super::webhook_get::OwnWebhook;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, event_filter, paths};

const DEFAULT_LIMIT: u32 = 25;
const HALF_RANGE: &str = "start and end must be given together";
const BAD_RANGE: &str = "start must be before end";
const UNKNOWN_STATUS: &str = "deliveryStatus must be success or failed";

/// Every try to deliver something to a webhook, in the last 7 days.
#[utoipa::path(
    get,
    path = paths::WEBHOOK_DELIVERIES,
    tag = "webhooks",
    params(
        ("webhookID" = uuid::Uuid, Path),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Tries on a page. Default 25"),
        ("orderAsc" = Option<bool>, Query, description = "Oldest first. Default `false`"),
        ("start" = Option<String>, Query, format = DateTime, description = "Inclusive; with `end`"),
        ("end" = Option<String>, Query, format = DateTime, description = "Exclusive; with `start`"),
        ("deliveryStatus" = Option<String>, Query, description = "`success`, `failed` or both, joined by a comma"),
        ("eventType" = Option<String>, Query, description = "Event types, joined by commas"),
    ),
    responses((status = 200, description = "A page of tries, grouped by event", body = WebhookDeliveries))
)]
pub(crate) async fn list_webhook_deliveries(
    State(app): State<App>,
    OwnWebhook(webhook): OwnWebhook,
    query: Query,
) -> Result<Json<WebhookDeliveries>, ApiError> {
    let limit = query.limit(DEFAULT_LIMIT)?;
    let wanted = attempt_query(&query, limit + 1, app.clock.now())?;
    let ascending = wanted.order == Order::Asc;
    let mut attempts = app.store.attempts.attempts(webhook.team_id, webhook.id, wanted).await?;
    let more = attempts.len() > limit as usize;
    attempts.truncate(limit as usize);
    let last = attempts.last().filter(|_| more);
    let next_cursor = last.map(|attempt| cursor::encode(attempt.started_at, attempt.id, ascending));
    Ok(Json(WebhookDeliveries::new(attempts, next_cursor)))
}

fn attempt_query(query: &Query, limit: u32, now: Timestamp) -> Result<AttemptQuery, ApiError> {
    let (start, end) = (query.moment("start", now)?, query.moment("end", now)?);
    match (start, end) {
        (Some(start), Some(end)) if start >= end => return Err(ApiError::bad_request(BAD_RANGE)),
        (Some(_), None) | (None, Some(_)) => return Err(ApiError::bad_request(HALF_RANGE)),
        _ => {}
    }
    let (mut success, mut failed) = (false, false);
    for status in query.list("deliveryStatus") {
        match status {
            "success" => success = true,
            "failed" => failed = true,
            _ => return Err(ApiError::bad_request(UNKNOWN_STATUS)),
        }
    }
    let order = query.order_asc()?;
    let token = query.first("cursor").filter(|token| !token.is_empty());
    let cursor = token.map(|token| cursor::decode::<DeliveryId>(token, order == Order::Asc)).transpose();
    Ok(AttemptQuery {
        cursor: cursor.map_err(|_| ApiError::bad_request("Invalid cursor"))?,
        limit,
        order,
        start,
        end,
        success: (success != failed).then_some(success),
        types: event_filter::types(query, "eventType")?,
    })
}
