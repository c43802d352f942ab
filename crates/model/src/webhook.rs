use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{DeliveryId, EventId, EventType, SandboxId, Secret, TeamId, Timestamp, WebhookId};

/// A registration: where a team wants which events sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub team_id: TeamId,
    /// What people call it.
    pub name: String,
    /// Where events go: absolute, http or https.
    pub url: String,
    /// Which events go there; never empty.
    pub events: BTreeSet<EventType>,
    /// Whether events committed from now on are delivered.
    pub enabled: bool,
    /// What deliveries are signed with.
    pub signature_secret: Secret,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A delivery that did not succeed at once: the exception to "everything up to the cursor is delivered".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Which webhook it is owed to.
    pub webhook_id: WebhookId,
    /// The event, by its number in the team's log.
    pub sequence: u64,
    /// Attempts made so far.
    pub n_attempts: u32,
    /// When the next attempt is due; `None` once exhausted.
    pub next_due_at: Option<Timestamp>,
}

/// One HTTP try at a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The wire's `e2b-delivery-id`.
    pub id: DeliveryId,
    /// Whose it is.
    pub team_id: TeamId,
    /// Which webhook.
    pub webhook_id: WebhookId,
    /// Which event.
    pub event_id: EventId,
    /// Its number in the team's log.
    pub sequence: u64,
    /// The event's sandbox.
    pub sandbox_id: SandboxId,
    /// The event's type.
    pub event_type: EventType,
    /// When the attempt started.
    pub started_at: Timestamp,
    /// How long it took, from first DNS query to last body byte, in milliseconds.
    pub duration_ms: u32,
    /// How it ended.
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
    /// Anything else.
    Failed {
        /// What kind of failure.
        class: ErrorClass,
        /// One sentence for the webhook's owner.
        message: String,
    },
}

/// The kind of a failed attempt, as the wire names it.
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
    /// The request could not be made: a bad URL or a forbidden target.
    RequestError,
    /// The body could not be signed.
    SignatureError,
    /// The server was shutting down.
    Canceled,
}

impl ErrorClass {
    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpError => "http_error",
            Self::DnsError => "dns_error",
            Self::Timeout => "timeout",
            Self::TransportError => "transport_error",
            Self::RequestError => "request_error",
            Self::SignatureError => "signature_error",
            Self::Canceled => "canceled",
        }
    }
}
