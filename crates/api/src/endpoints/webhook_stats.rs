//! `GET /events/webhooks/{id}/stats`: how deliveries to a webhook went over time.

use crate::json::Json;
use axum::extract::State;
use jiff::SignedDuration;
use sandscope_wire::delivery::{DurationStats, StatsBucket, WebhookStats};

use super::webhook_get::OwnWebhook;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

const BAD_RANGE: &str = "start must be before end";
const DEFAULT_RANGE: SignedDuration = SignedDuration::from_hours(24);

/// Width of a bucket, by the length of the range.
const fn bucket_s(range_s: i64) -> u32 {
    match range_s {
        ..=14_400 => 300,
        14_401..=43_200 => 1_800,
        43_201..=86_400 => 3_600,
        _ => 86_400,
    }
}

/// How deliveries to a webhook went over time.
#[utoipa::path(
    get,
    path = paths::WEBHOOK_STATS,
    tag = "webhooks",
    params(
        ("webhookID" = uuid::Uuid, Path),
        ("start" = Option<String>, Query, format = DateTime, description = "Inclusive. Default: 24 hours before `end`"),
        ("end" = Option<String>, Query, format = DateTime, description = "Exclusive. Default: now"),
    ),
    responses((status = 200, description = "Buckets of 5 minutes (range up to 4 hours), 30 minutes (12 hours), 1 hour \
               (24 hours) or 1 day; empty ones are left out", body = WebhookStats))
)]
pub(crate) async fn get_webhook_stats(
    State(app): State<App>,
    OwnWebhook(webhook): OwnWebhook,
    query: Query,
) -> Result<Json<WebhookStats>, ApiError> {
    let end = query.moment("end", app.clock.now())?.unwrap_or_else(|| app.clock.now());
    let start = match query.moment("start", app.clock.now())? {
        Some(start) => start,
        None => end.checked_sub(DEFAULT_RANGE).unwrap_or(jiff::Timestamp::MIN),
    };
    if start >= end {
        return Err(ApiError::bad_request(BAD_RANGE));
    }
    let bucket_s = bucket_s(end.as_second().saturating_sub(start.as_second()));
    let found = app.store.attempts.attempt_stats(webhook.team_id, webhook.id, start, end, bucket_s).await?;
    let buckets = found.iter().map(|bucket| StatsBucket {
        timestamp: bucket.start,
        total: bucket.total,
        failed: bucket.failed,
        duration_ms: DurationStats { minimum: bucket.min, average: bucket.avg, maximum: bucket.max },
    });
    Ok(Json(WebhookStats::new(buckets.collect())))
}
