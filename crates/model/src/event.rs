//! The record of a transition: history, webhook queue, live stream and usage ledger are all read from it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    AlertNotice, BuildId, EventId, Execution, ExecutionId, Exit, KillReason, OomKills, Origin, SampleSummary,
    SandboxId, TeamId, TemplateId, Timestamp, WebhookId,
};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// A sandbox was made.
    #[serde(rename = "sandbox.lifecycle.created")]
    Created,
    /// It ended.
    #[serde(rename = "sandbox.lifecycle.killed")]
    Killed,
    /// Its configuration changed.
    #[serde(rename = "sandbox.lifecycle.updated")]
    Updated,
    /// It was paused.
    #[serde(rename = "sandbox.lifecycle.paused")]
    Paused,
    /// It was resumed.
    #[serde(rename = "sandbox.lifecycle.resumed")]
    Resumed,
    /// A snapshot was taken of it.
    #[serde(rename = "sandbox.lifecycle.checkpointed")]
    Checkpointed,
    /// The kernel killed processes of it for lack of memory, and it lives on. No change of its lifecycle.
    #[serde(rename = "sandbox.oom")]
    OutOfMemory,
    /// A webhook is behind: something it is owed has waited for long.
    #[serde(rename = "webhook.lagging")]
    WebhookLagging,
    /// A webhook was disabled by the server.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled,
    /// A webhook that was behind, failing or disabled is well again.
    #[serde(rename = "webhook.recovered")]
    WebhookRecovered,
    /// A delivery ran out of attempts: the first since the webhook was last well.
    #[serde(rename = "webhook.exhausted")]
    WebhookExhausted,
    /// An alert fires.
    #[serde(rename = "sandbox.alert.firing")]
    AlertFiring,
    /// An alert fires no more.
    #[serde(rename = "sandbox.alert.resolved")]
    AlertResolved,
}

impl EventType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Killed,
        Self::Updated,
        Self::Paused,
        Self::Resumed,
        Self::Checkpointed,
        Self::OutOfMemory,
        Self::WebhookLagging,
        Self::WebhookDisabled,
        Self::WebhookRecovered,
        Self::WebhookExhausted,
        Self::AlertFiring,
        Self::AlertResolved,
    ];

    /// The changes of a sandbox's life: what a list shows that is not asked for types, and all that consumers know who
    /// were written for another server.
    pub const LIFECYCLE: [Self; 6] =
        [Self::Created, Self::Killed, Self::Updated, Self::Paused, Self::Resumed, Self::Checkpointed];

    /// Whether it tells of this server's own work, or of what it noticed, rather than of a change. Such an event borrows
    /// the sandbox of the event it came from.
    pub const fn is_operational(self) -> bool {
        match self {
            Self::Created
            | Self::Killed
            | Self::Updated
            | Self::Paused
            | Self::Resumed
            | Self::Checkpointed
            | Self::OutOfMemory => false,
            Self::WebhookLagging
            | Self::WebhookDisabled
            | Self::WebhookRecovered
            | Self::WebhookExhausted
            | Self::AlertFiring
            | Self::AlertResolved => true,
        }
    }

    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "sandbox.lifecycle.created",
            Self::Killed => "sandbox.lifecycle.killed",
            Self::Updated => "sandbox.lifecycle.updated",
            Self::Paused => "sandbox.lifecycle.paused",
            Self::Resumed => "sandbox.lifecycle.resumed",
            Self::Checkpointed => "sandbox.lifecycle.checkpointed",
            Self::OutOfMemory => "sandbox.oom",
            Self::WebhookLagging => "webhook.lagging",
            Self::WebhookDisabled => "webhook.disabled",
            Self::WebhookRecovered => "webhook.recovered",
            Self::WebhookExhausted => "webhook.exhausted",
            Self::AlertFiring => "sandbox.alert.firing",
            Self::AlertResolved => "sandbox.alert.resolved",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown event type")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == text).ok_or(UnknownEventType)
    }
}

/// What an event carries beyond who, what and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// The sandbox's labels, on every type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sandbox_metadata: BTreeMap<String, String>,
    /// Who caused it, on every type; unknown only for what versions before wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The execution that ended, on killed and paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionSummary>,
    /// Why it ended, on killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_reason: Option<KillReason>,
    /// What is known about its end, on killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The last samples taken of it, on killed, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_samples: Option<SampleSummary>,
    /// How many processes the kernel killed, on out of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<OomKills>,
    /// The new end time, on updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_timeout: Option<Timestamp>,
    /// The snapshot's template, on checkpointed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_template_id: Option<TemplateId>,
    /// Which webhook it is about, on operational events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookNotice>,
    /// Which alert it is about, on alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertNotice>,
}

/// What an operational event says about a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookNotice {
    /// Which webhook.
    pub id: WebhookId,
    /// What people call it.
    pub name: String,
    /// What made it so, in one sentence.
    pub reason: String,
    /// Since when nothing has been delivered to it, if it is failing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Attempts that failed since then.
    pub n_failed: u32,
    /// The event whose delivery made it so.
    pub event_id: EventId,
}

/// An execution that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionSummary {
    /// When it started.
    pub started_at: Timestamp,
    /// Its CPUs.
    pub vcpu_count: u32,
    /// Its memory limit, in MiB.
    pub memory_mb: u32,
    /// How long it ran, in milliseconds.
    pub execution_time_ms: u64,
}

impl ExecutionSummary {
    /// Sums up `execution`, which ended at `ended_at`. A clock that went backwards counts as no time.
    pub fn new(execution: &Execution, ended_at: Timestamp) -> Self {
        let elapsed = ended_at.as_millisecond().saturating_sub(execution.started_at.as_millisecond());
        Self {
            started_at: execution.started_at,
            vcpu_count: execution.vcpu_count,
            memory_mb: execution.memory_mb,
            execution_time_ms: u64::try_from(elapsed).unwrap_or(0),
        }
    }
}

/// An event about to be committed; the store gives it its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// Its id.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// What it carries.
    pub data: EventData,
    /// Which sandbox.
    pub sandbox_id: SandboxId,
    /// During which execution.
    pub execution_id: ExecutionId,
    /// The sandbox's base template.
    pub template_id: TemplateId,
    /// The build it was made from.
    pub build_id: BuildId,
    /// Whose it is.
    pub team_id: TeamId,
    /// When.
    pub timestamp: Timestamp,
}

/// A committed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number in the team's log: 1, 2, 3 … without gaps.
    pub sequence: u64,
    /// Everything else.
    pub draft: EventDraft,
}

impl Event {
    /// Whether it stands in no log: made up so that somebody can see what a delivery looks like.
    pub const fn is_test(&self) -> bool {
        self.sequence == 0
    }
}

impl std::ops::Deref for Event {
    type Target = EventDraft;

    fn deref(&self) -> &EventDraft {
        &self.draft
    }
}
