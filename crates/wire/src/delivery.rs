//! Delivery attempts and their statistics, as answered.

use sandscope_model::{Attempt, AttemptOutcome, DeliveryId, EventId, TeamId, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One HTTP try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    /// The `e2b-delivery-id` it carried.
    #[schema(value_type = uuid::Uuid)]
    pub id: DeliveryId,
    /// Whose it is.
    #[schema(value_type = uuid::Uuid)]
    pub team_id: TeamId,
    /// Which webhook.
    #[schema(value_type = uuid::Uuid)]
    pub webhook_id: WebhookId,
    /// Which event.
    #[schema(value_type = uuid::Uuid)]
    pub event_id: EventId,
    /// The event's sandbox; `null` if it is about none.
    #[schema(required)]
    pub sandbox_id: Option<String>,
    /// The event's type.
    pub event_type: String,
    /// `success` for a 2xx answer, else `failed`.
    pub status: DeliveryStatus,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The body sent.
    pub request_body: String,
    /// The headers sent, as a JSON object in a string; the signature is left out.
    pub request_headers: String,
    /// The URL used.
    pub request_url: String,
    /// Body of the answer, at most 64 KiB of it.
    pub response_body: Option<String>,
    /// Headers of the answer, as a JSON object in a string.
    pub response_headers: Option<String>,
    /// Status of the answer.
    pub response_http_status_code: Option<u16>,
    /// `http_error`, `dns_error`, `timeout`, `transport_error`, `request_error`, `signature_error` or `canceled` of a
    /// failure; `null` for a success, or `response_too_large` if more than 64 KiB of its answer came.
    pub error_class: Option<String>,
    /// What went wrong, in one sentence.
    pub error_message: Option<String>,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// With a 2xx answer.
    Success,
    /// With anything else.
    Failed,
}

impl From<Attempt> for WebhookDelivery {
    fn from(attempt: Attempt) -> Self {
        let (class, message) = attempt.outcome.error().unzip();
        let error_class = class.map(|class| class.as_str().to_owned());
        let error_message = message.map(str::to_owned);
        let status = match attempt.outcome {
            AttemptOutcome::Success | AttemptOutcome::Cut => DeliveryStatus::Success,
            AttemptOutcome::Failed { .. } => DeliveryStatus::Failed,
        };
        Self {
            id: attempt.id,
            team_id: attempt.team_id,
            webhook_id: attempt.webhook_id,
            event_id: attempt.event_id,
            sandbox_id: attempt.sandbox_id.map(|id| id.to_string()),
            event_type: attempt.event_type.to_string(),
            status,
            duration_ms: attempt.duration_ms,
            request_body: attempt.request_body,
            request_headers: attempt.request_headers,
            request_url: attempt.request_url,
            response_body: attempt.response_body,
            response_headers: attempt.response_headers,
            response_http_status_code: attempt.response_status,
            error_class,
            error_message,
            timestamp: attempt.started_at,
        }
    }
}

/// The tries of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventDeliveries {
    /// Which event.
    #[schema(value_type = uuid::Uuid)]
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// Its sandbox; `null` if it is about none.
    #[schema(required)]
    pub sandbox_id: Option<String>,
    /// Its tries on this page.
    pub attempts: Vec<WebhookDelivery>,
}

/// A page of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDeliveries {
    /// The page's tries, grouped by event.
    pub data: Vec<EventDeliveries>,
    /// Where the next page starts; `null`: there is none.
    pub next_cursor: Option<String>,
}

impl WebhookDeliveries {
    /// Groups a page of attempts by event, in the order the events first come up.
    pub fn new(attempts: Vec<Attempt>, next_cursor: Option<String>) -> Self {
        let mut data: Vec<EventDeliveries> = Vec::new();
        for attempt in attempts {
            let delivery = WebhookDelivery::from(attempt);
            match data.iter_mut().find(|group| group.event_id == delivery.event_id) {
                Some(group) => group.attempts.push(delivery),
                None => data.push(EventDeliveries {
                    event_id: delivery.event_id,
                    event_type: delivery.event_type.clone(),
                    sandbox_id: delivery.sandbox_id.clone(),
                    attempts: vec![delivery],
                }),
            }
        }
        Self { data, next_cursor }
    }
}

/// Durations of tries, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DurationStats {
    /// The shortest.
    pub minimum: f64,
    /// The mean.
    pub average: f64,
    /// The longest.
    pub maximum: f64,
}

/// Tries that started within one span of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsBucket {
    /// Start of the span.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// Tries.
    pub total: u64,
    /// Of them, failed.
    pub failed: u64,
    /// How long they took.
    pub duration_ms: DurationStats,
}

/// Statistics of a webhook's tries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookStats {
    /// Over time; spans without tries are left out.
    pub buckets: Vec<StatsBucket>,
    /// Tries in the whole range.
    pub total: u64,
    /// Of them, failed.
    pub failed: u64,
    /// How long they took.
    pub duration_ms: DurationStats,
}

impl WebhookStats {
    /// Adds up `buckets`.
    pub fn new(buckets: Vec<StatsBucket>) -> Self {
        let total: u64 = buckets.iter().map(|bucket| bucket.total).sum();
        let failed = buckets.iter().map(|bucket| bucket.failed).sum();
        let weighted: f64 =
            buckets.iter().map(|bucket| bucket.duration_ms.average * bucket.total as f64).sum();
        let duration_ms = DurationStats {
            minimum: buckets.iter().map(|b| b.duration_ms.minimum).reduce(f64::min).unwrap_or(0.0),
            average: if total == 0 { 0.0 } else { weighted / total as f64 },
            maximum: buckets.iter().map(|b| b.duration_ms.maximum).reduce(f64::max).unwrap_or(0.0),
        };
        Self { buckets, total, failed, duration_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let bucket = |total, failed, minimum, average, maximum| StatsBucket {
            timestamp: Timestamp::UNIX_EPOCH,
            total,
            failed,
            duration_ms: DurationStats { minimum, average, maximum },
        };
        let stats = WebhookStats::new(vec![bucket(1, 1, 2.0, 2.0, 2.0), bucket(3, 0, 4.0, 6.0, 9.0)]);
        assert_eq!((stats.total, stats.failed), (4, 1));
        assert_eq!(stats.duration_ms, DurationStats { minimum: 2.0, average: 5.0, maximum: 9.0 });
        assert_eq!(WebhookStats::new(Vec::new()), WebhookStats::default());
    }
}
