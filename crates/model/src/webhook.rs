use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    DeliveryId, Event, EventId, EventType, EventTypes, KillReason, ReplayId, SandboxId, Secret, Subject,
    TeamId, TemplateId, Timestamp, WebhookChange, WebhookId,
};

/// A registration: where a team wants which events sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The webhook's id.
    pub id: WebhookId,
    /// The team that owns it.
    pub team_id: TeamId,
    /// What people call it.
    pub name: String,
    /// Where events go: absolute, http or https.
    pub url: String,
    /// Which events go there; never empty.
    pub events: EventTypes,
    /// Whether events committed from now on are delivered.
    pub enabled: bool,
    /// What deliveries are signed with.
    pub signature_secret: Secret,
    /// What they were signed with before, while both count.
    pub previous_secret: Option<RetiredSecret>,
    /// Headers sent with every delivery. Their values may be credentials.
    pub headers: BTreeMap<String, Secret>,
    /// How it is delivered to.
    pub options: WebhookOptions,
    /// When it was registered.
    pub created_at: Timestamp,
}

impl Webhook {
    /// Whether `event` is to be sent to it.
    pub fn wants(&self, event: &Event) -> bool {
        self.events.contains(&event.event_type())
            && self.options.sandbox_id.as_ref().is_none_or(|id| event.sandbox_id() == Some(id))
            && self.options.filter.passes(event)
            // What is said about it goes to others: an event about its own failed delivery would fail in turn, without
            // end.
            && event.subject != Subject::Webhook(self.id)
    }
}

/// Whether a header's meaning is not the registering team's to give: framing, addressing, and what deliveries carry.
/// `name` is in lower case.
pub fn is_reserved_header(name: &str) -> bool {
    const NAMES: [&str; 17] = [
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    ];
    const PREFIXES: [&str; 6] = ["e2b-", "webhook-", "proxy-", "x-forwarded-", "sec-", ":"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A secret that was replaced and still counts for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredSecret {
    /// The secret.
    pub secret: Secret,
    /// Until when deliveries are signed with it as well.
    pub until: Timestamp,
}

/// How a webhook is delivered to, beyond where and what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookOptions {
    /// What waits for what.
    pub ordering: Ordering,
    /// When failed deliveries are tried again.
    pub retry: Retry,
    /// What one attempt may take, in seconds; the server's setting where `None`.
    pub timeout_s: Option<u32>,
    /// Attempts in flight at once at most; the server's setting where `None`.
    pub max_in_flight: Option<u32>,
    /// Attempts started per second at most.
    pub rate_per_second: Option<u32>,
    /// After how long without a success the webhook is disabled, in seconds; 0 is never, `None` the server's setting.
    pub disable_after_s: Option<u32>,
    /// In which spelling events are sent.
    pub payload: PayloadStyle,
    /// Which events of the subscribed types are meant.
    pub filter: WebhookFilter,
    /// The only sandbox whose events are meant; the webhook goes when its sandbox is forgotten.
    pub sandbox_id: Option<SandboxId>,
}

/// What waits for what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Nothing waits.
    None,
    /// An event waits until the earlier ones of its sandbox are delivered or exhausted.
    #[default]
    Sandbox,
    /// An event waits until every earlier one is.
    Strict,
}

/// When failed deliveries are tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// As the server is configured.
    #[default]
    Server,
    /// Three times, ten seconds apart.
    E2b,
    /// After 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 5 h, and then every 10 h within three days.
    Standard,
    /// After each of these many seconds.
    Custom(Vec<u32>),
}

/// In which spelling events are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadStyle {
    /// The keys of the events API with their snake_case twins.
    #[default]
    Both,
    /// The keys of the events API.
    Camel,
    /// The snake_case keys alone.
    Snake,
    /// A CloudEvents 1.0 envelope around the events API's rendering.
    Cloudevents,
}

/// Which events of the subscribed types are meant. Nothing given means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookFilter {
    /// Labels the sandbox must have, all of them.
    pub metadata: BTreeMap<String, String>,
    /// Templates it must have been made from, one of them.
    pub templates: BTreeSet<TemplateId>,
    /// Why it must have ended, on events that say why.
    pub reasons: BTreeSet<String>,
}

impl WebhookFilter {
    fn passes(&self, event: &Event) -> bool {
        let labels = event.metadata();
        let reason = event.kill_reason().map(KillReason::as_str);
        self.metadata.iter().all(|(key, value)| labels.get(key) == Some(value))
            && (self.templates.is_empty()
                || event.template_id().is_some_and(|id| self.templates.contains(id)))
            && (self.reasons.is_empty() || reason.is_none_or(|reason| self.reasons.contains(reason)))
    }
}

/// How deliveries to a webhook have been going.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookHealth {
    /// When the first attempt failed of those since the last success.
    pub failing_since: Option<Timestamp>,
    /// How many have failed since.
    pub n_failed: u32,
    /// What was reported of it since it was last well.
    pub reported: BTreeSet<WebhookChange>,
    /// Why the server disabled it.
    pub disabled_reason: Option<String>,
}

/// Events sent again on request: a cursor of its own over a part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The replay's id.
    pub id: ReplayId,
    /// To which webhook.
    pub webhook_id: WebhookId,
    /// Which events of the range.
    pub selection: Selection,
    /// The first event of the range, by its number in the log.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Everything before this one has been selected or passed over.
    pub next: u64,
    /// Events started per second at most.
    pub rate_per_second: Option<u32>,
    /// The state of its deliveries.
    pub state: ReplayState,
    /// Events selected so far.
    pub n_selected: u64,
    /// Of them, delivered.
    pub n_delivered: u64,
    /// Of them, out of attempts.
    pub n_failed: u64,
    /// Of them, no longer there or no longer wanted.
    pub n_dropped: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Which events of its range a replay sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Those that never arrived: out of attempts, or passed while the webhook was disabled.
    Failed,
    /// All that the webhook wants.
    All,
}

/// The state of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It is under way, or waits for the one before it.
    Running,
    /// Everything selected was delivered or exhausted.
    Done,
    /// Somebody ended it.
    Canceled,
}

/// A delivery that did not succeed at once: the exception to "everything up to the cursor is delivered".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The webhook it is due to.
    pub webhook_id: WebhookId,
    /// The event, by its number in the team's log.
    pub sequence: u64,
    /// Attempts made so far.
    pub n_attempts: u32,
    /// When the next attempt is due; `None` once exhausted.
    pub next_due_at: Option<Timestamp>,
    /// The replay it is part of, by the store's number.
    pub replay_no: Option<i64>,
    /// Whether it was exhausted before that replay took it up.
    pub was_exhausted: bool,
}

/// One HTTP try at a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The wire's `e2b-delivery-id`.
    pub id: DeliveryId,
    /// The webhook it belongs to.
    pub team_id: TeamId,
    /// Which webhook.
    pub webhook_id: WebhookId,
    /// Which event.
    pub event_id: EventId,
    /// Its number in the team's log.
    pub sequence: u64,
    /// The event's sandbox, if it has one.
    pub sandbox_id: Option<SandboxId>,
    /// The event's type.
    pub event_type: EventType,
    /// When the attempt started.
    pub started_at: Timestamp,
    /// How long it took, from first DNS query to last body byte, in milliseconds.
    pub duration_ms: u32,
    /// Success, or the class of the failure.
    pub outcome: AttemptOutcome,
    /// The URL used.
    pub request_url: String,
    /// The headers sent, as a JSON object, signature redacted.
    pub request_headers: String,
    /// The body sent.
    pub request_body: String,
    /// Status of the response, if there was one.
    pub response_status: Option<u16>,
    /// Its headers, as a JSON object.
    pub response_headers: Option<String>,
    /// Its body, at most 64 KiB of it.
    pub response_body: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A 2xx answer.
    Success,
    /// A 2xx answer that is longer than is read of one. The event counts as delivered.
    Cut,
    /// Anything else.
    Failed {
        /// What kind of failure.
        class: ErrorClass,
        /// One sentence for the webhook's owner.
        message: String,
    },
}

impl AttemptOutcome {
    /// Whether the event counts as delivered.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Success | Self::Cut)
    }

    /// What was wrong, if anything was.
    pub fn error(&self) -> Option<(ErrorClass, &str)> {
        match self {
            Self::Success => None,
            Self::Cut => Some((
                ErrorClass::ResponseTooLarge,
                "the answer is longer than 64 KiB: the rest was not read",
            )),
            Self::Failed { class, message } => Some((*class, message)),
        }
    }
}

/// What was wrong with an attempt, as the wire names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The receiver answered something other than 2xx.
    HttpError,
    /// The name did not resolve.
    DnsError,
    /// The deadline passed.
    Timeout,
    /// The connection failed or broke.
    TransportError,
    /// The receiver's answer was longer than is read of one.
    ResponseTooLarge,
    /// The request could not be made: a bad URL or a forbidden target.
    RequestError,
    /// The body could not be signed.
    SignatureError,
    /// The server was shutting down.
    Canceled,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::HttpError,
        Self::DnsError,
        Self::Timeout,
        Self::TransportError,
        Self::ResponseTooLarge,
        Self::RequestError,
        Self::SignatureError,
        Self::Canceled,
    ];

    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpError => "http_error",
            Self::DnsError => "dns_error",
            Self::Timeout => "timeout",
            Self::TransportError => "transport_error",
            Self::ResponseTooLarge => "response_too_large",
            Self::RequestError => "request_error",
            Self::SignatureError => "signature_error",
            Self::Canceled => "canceled",
        }
    }
}
