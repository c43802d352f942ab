//! One attempt at a delivery: sign, send, and say how it ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::Full;
use sandscope_model::{
    Attempt, AttemptOutcome, Clock, DeliveryId, Entropy, ErrorClass, Event, Timestamp, Webhook,
    is_reserved_header,
};
use sandscope_outbound::{DialError, EgressGuard, ExchangeError, HttpClient, PartialReply};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Position;

use crate::{receiver_client, signature};

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("sandscope/", env!("CARGO_PKG_VERSION")));
const ANY: HeaderValue = HeaderValue::from_static("*/*");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("e2b-webhook-id");
const DELIVERY_ID: HeaderName = HeaderName::from_static("e2b-delivery-id");
const SIGNATURE_VERSION: HeaderName = HeaderName::from_static("e2b-signature-version");
const SIGNATURE: HeaderName = HeaderName::from_static("e2b-signature");
const PREVIOUS_SIGNATURE: HeaderName = HeaderName::from_static("e2b-signature-previous");
const STANDARD_ID: HeaderName = HeaderName::from_static("webhook-id");
const STANDARD_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const STANDARD_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// Longest body that is kept, of a request as of an answer.
const MAX_KEPT_BYTES: usize = 64 * 1024;
const REDACTED: &str = "[redacted]";

/// Makes attempts for one webhook.
pub(crate) struct Attempter {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) guard: EgressGuard,
    pub(crate) http: HttpClient,
}

/// An attempt that was made.
pub(crate) struct Made {
    pub(crate) attempt: Attempt,
    /// How long the receiver asked to wait.
    pub(crate) hold: Option<Duration>,
}

impl Attempter {
    /// Sends `event` to `webhook` once. Ends when the exchange has, when `timeout` has passed since (from the first DNS
    /// query to the last byte of the response's body), or when `canceled`.
    pub(crate) async fn attempt(
        &self,
        webhook: &Webhook,
        event: &Event,
        timeout: Duration,
        canceled: &CancellationToken,
    ) -> Made {
        let id = DeliveryId::generate(&*self.entropy);
        let body = Bytes::from(sandscope_wire::event::webhook_body(event, webhook.options.payload));
        let started_at = self.clock.now();
        let headers = headers(webhook, event, id, started_at, &body);
        let started = Instant::now();
        let mut reply = PartialReply::default();
        let deadline = self.clock.sleep(timeout);
        let outcome = tokio::select! {
            ended = self.exchange(webhook, &headers, &body, &mut reply) => outcome(ended),
            () = deadline => timed_out(timeout),
            () = canceled.cancelled() => AttemptOutcome::Failed {
                class: ErrorClass::Canceled,
                message: "the webhook was disabled during the attempt".to_owned(),
            },
        };
        let outcome = judge(outcome, &reply);
        let hold = reply.headers.as_ref().and_then(|headers| retry_after(headers, self.clock.now()));
        let is_secret = |name: &HeaderName| webhook.headers.contains_key(name.as_str());
        let attempt = Attempt {
            id,
            team_id: event.team_id,
            webhook_id: webhook.id,
            event_id: event.id,
            sequence: event.sequence,
            sandbox_id: event.sandbox_id().cloned(),
            event_type: event.event_type(),
            started_at,
            duration_ms: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
            outcome,
            request_url: webhook.url.clone(),
            request_headers: to_json(&headers, is_secret),
            request_body: kept(&body),
            response_status: reply.status.map(|status| status.as_u16()),
            response_body: reply.headers.is_some().then(|| kept(&reply.body)),
            response_headers: reply.headers.as_ref().map(|headers| to_json(headers, |_| false)),
        };
        Made { attempt, hold }
    }

    async fn exchange(
        &self,
        webhook: &Webhook,
        headers: &HeaderMap,
        body: &Bytes,
        reply: &mut PartialReply,
    ) -> Result<(), ExchangeError> {
        let url = self.guard.check_url(&webhook.url).map_err(DialError::from)?;
        let mut request =
            Request::post(&url[Position::BeforePath..Position::AfterQuery]).body(Full::new(body.clone()))?;
        headers.clone_into(request.headers_mut());
        self.http.exchange(&url, request, reply).await
    }
}

fn timed_out(timeout: Duration) -> AttemptOutcome {
    let message = format!("no complete response within {} s", timeout.as_secs_f64());
    AttemptOutcome::Failed { class: ErrorClass::Timeout, message }
}

/// As much of a body as is kept, as text. What is no text takes more room than it did.
fn kept(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&body[..body.len().min(MAX_KEPT_BYTES)]).into_owned();
    text.truncate(text.floor_char_boundary(MAX_KEPT_BYTES));
    text
}

/// `duration` after `at`, or the end of time.
pub(crate) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn headers(webhook: &Webhook, event: &Event, id: DeliveryId, at: Timestamp, body: &[u8]) -> HeaderMap {
    let secret = &webhook.signature_secret;
    let previous = webhook.previous_secret.as_ref().filter(|previous| previous.until > at);
    let mut standard = signature::standard(secret, event.id, at, body);
    let mut texts = vec![
        (WEBHOOK_ID, webhook.id.to_string()),
        (DELIVERY_ID, id.to_string()),
        (SIGNATURE_VERSION, signature::V1.to_owned()),
        (SIGNATURE, signature::v1(secret, body)),
        (STANDARD_ID, event.id.to_string()),
        (STANDARD_TIMESTAMP, at.as_second().to_string()),
    ];
    if let Some(previous) = previous {
        texts.push((PREVIOUS_SIGNATURE, signature::v1(&previous.secret, body)));
        standard = format!("{standard} {}", signature::standard(&previous.secret, event.id, at, body));
    }
    texts.push((STANDARD_SIGNATURE, standard));
    let content_type = sandscope_wire::event::content_type(webhook.options.payload);
    texts.push((header::CONTENT_TYPE, content_type.to_owned()));
    let fixed = [(header::USER_AGENT, USER_AGENT), (header::ACCEPT, ANY)];
    // Ids and signatures are plain ASCII, so none of these is ever left out.
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?)));
    // Registration refuses these; what is there all the same is not sent.
    let own =
        webhook.headers.iter().filter(|(name, _)| !is_reserved_header(name)).filter_map(|(name, value)| {
            let mut value = HeaderValue::try_from(value.expose()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        });
    own.chain(fixed).chain(texts).collect()
}

/// How long the receiver asks to wait: seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_secs(u64::try_from(now.as_second()).ok()?);
    Some(until.saturating_sub(now))
}

fn outcome(ended: Result<(), ExchangeError>) -> AttemptOutcome {
    match ended {
        Ok(()) => AttemptOutcome::Success,
        Err(error) => {
            AttemptOutcome::Failed { class: receiver_client::class(&error), message: error.to_string() }
        }
    }
}

/// A complete exchange is a success only with a status that says so.
fn judge(outcome: AttemptOutcome, reply: &PartialReply) -> AttemptOutcome {
    match (outcome, reply.status) {
        (AttemptOutcome::Success, Some(status)) if !status.is_success() => AttemptOutcome::Failed {
            class: ErrorClass::HttpError,
            message: format!("the receiver answered with status {}", status.as_u16()),
        },
        (AttemptOutcome::Success, _) if reply.is_cut => AttemptOutcome::Cut,
        (outcome, _) => outcome,
    }
}

/// What is never kept of headers, whichever side sent them.
const SECRETS: [HeaderName; 8] = [
    SIGNATURE,
    PREVIOUS_SIGNATURE,
    STANDARD_SIGNATURE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
];

/// Headers as a JSON object for the attempt's record: repeated ones joined, signatures and secrets redacted.
fn to_json(headers: &HeaderMap, is_secret: impl Fn(&HeaderName) -> bool) -> String {
    let mut object = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let hidden = SECRETS.contains(name) || is_secret(name);
        let text = if hidden { REDACTED.to_owned() } else { values.join(", ") };
        object.insert(name.as_str().to_owned(), Value::String(text));
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
