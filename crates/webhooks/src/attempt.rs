//! One attempt at a delivery: sign, send, and say how it ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sandscope_model::{
    Attempt, AttemptOutcome, Clock, DeliveryId, Entropy, ErrorClass, Event, Timestamp, Webhook,
};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exchange::{ExchangeError, Exchanger, Reply};
use crate::guard::EgressGuard;
use crate::signature;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("sandscope/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANY: HeaderValue = HeaderValue::from_static("*/*");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("e2b-webhook-id");
const DELIVERY_ID: HeaderName = HeaderName::from_static("e2b-delivery-id");
const SIGNATURE_VERSION: HeaderName = HeaderName::from_static("e2b-signature-version");
const SIGNATURE: HeaderName = HeaderName::from_static("e2b-signature");
const REDACTED: &str = "[redacted]";

/// Makes attempts for one webhook.
pub(crate) struct Attempter {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) guard: EgressGuard,
    pub(crate) exchanger: Exchanger,
    /// What one attempt may take, from the first DNS query to the last byte of the response's body.
    pub(crate) timeout: Duration,
}

impl Attempter {
    /// Sends `event` to `webhook` once. Ends when the exchange has, when its time is up, or when `canceled`.
    pub(crate) async fn attempt(
        &self,
        webhook: &Webhook,
        event: &Event,
        canceled: &CancellationToken,
    ) -> Attempt {
        let id = DeliveryId::generate(&*self.entropy);
        let body = Bytes::from(sandscope_wire::event::webhook_body(event));
        let headers = headers(webhook, id, &body);
        let started_at = self.clock.now();
        let started = Instant::now();
        let mut reply = Reply::default();
        let deadline = self.clock.sleep_until(after(started_at, self.timeout));
        let outcome = tokio::select! {
            ended = self.exchange(webhook, &headers, &body, &mut reply) => outcome(ended),
            () = deadline => self.timed_out(),
            () = canceled.cancelled() => AttemptOutcome::Failed {
                class: ErrorClass::Canceled,
                message: "the webhook was disabled during the attempt".to_owned(),
            },
        };
        let outcome = judge(outcome, &reply);
        Attempt {
            id,
            team_id: event.team_id,
            webhook_id: webhook.id,
            event_id: event.id,
            sequence: event.sequence,
            sandbox_id: event.sandbox_id.clone(),
            event_type: event.event_type,
            started_at,
            duration_ms: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
            outcome,
            request_url: webhook.url.clone(),
            request_headers: to_json(&headers),
            request_body: String::from_utf8_lossy(&body).into_owned(),
            response_status: reply.status,
            response_body: reply.headers.is_some().then(|| String::from_utf8_lossy(&reply.body).into_owned()),
            response_headers: reply.headers.as_ref().map(to_json),
        }
    }

    async fn exchange(
        &self,
        webhook: &Webhook,
        headers: &HeaderMap,
        body: &Bytes,
        reply: &mut Reply,
    ) -> Result<(), ExchangeError> {
        let url = self.guard.check_url(&webhook.url).map_err(crate::guard::DialError::from)?;
        self.exchanger.post(&url, headers, body, reply).await
    }

    fn timed_out(&self) -> AttemptOutcome {
        let message = format!("no complete response within {} s", self.timeout.as_secs_f64());
        AttemptOutcome::Failed { class: ErrorClass::Timeout, message }
    }
}

/// `duration` after `at`, or the end of time.
pub(crate) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn headers(webhook: &Webhook, id: DeliveryId, body: &[u8]) -> HeaderMap {
    // Ids and signatures are plain ASCII, so none of these is ever left out.
    let texts = [
        (WEBHOOK_ID, webhook.id.to_string()),
        (DELIVERY_ID, id.to_string()),
        (SIGNATURE_VERSION, signature::V1.to_owned()),
        (SIGNATURE, signature::v1(&webhook.signature_secret, body)),
    ];
    let fixed = [(header::CONTENT_TYPE, JSON), (header::USER_AGENT, USER_AGENT), (header::ACCEPT, ANY)];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?)));
    fixed.into_iter().chain(texts).collect()
}

fn outcome(ended: Result<(), ExchangeError>) -> AttemptOutcome {
    match ended {
        Ok(()) => AttemptOutcome::Success,
        Err(error) => AttemptOutcome::Failed { class: error.class(), message: error.to_string() },
    }
}

/// A complete exchange is a success only with a status that says so.
fn judge(outcome: AttemptOutcome, reply: &Reply) -> AttemptOutcome {
    match (outcome, reply.status) {
        (AttemptOutcome::Success, Some(status)) if !(200..300).contains(&status) => AttemptOutcome::Failed {
            class: ErrorClass::HttpError,
            message: format!("the receiver answered with status {status}"),
        },
        (outcome, _) => outcome,
    }
}

/// Headers as a JSON object for the attempt's record: repeated ones joined, the signature redacted.
fn to_json(headers: &HeaderMap) -> String {
    let mut object = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let text = if *name == SIGNATURE { REDACTED.to_owned() } else { values.join(", ") };
        object.insert(name.as_str().to_owned(), Value::String(text));
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
