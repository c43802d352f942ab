//! Nouns and rules: ids, the sandbox state machine, lifecycle events, metric samples, webhooks.
//!
//! Nothing here performs I/O, reads a clock, draws randomness or spawns anything. Time and chance come in as
//! arguments ([`Clock`], [`Entropy`]), so that every rule can be tested without a runtime.

#![warn(clippy::disallowed_methods)]

mod activity;
mod alert;
mod clock;
mod death;
mod details;
mod entropy;
mod event;
mod event_counts;
mod event_filter;
mod history;
mod id;
pub mod keys;
pub mod ledger;
mod log;
mod metrics;
mod origin;
mod prices;
mod sandbox;
mod secret;
mod signal;
mod state;
mod steady;
mod subject;
mod team;
mod template;
mod uptime;
mod webhook;
pub mod when;

pub use activity::{Activity, ActivityBlock, ActivityChange, ActivityPoint};
pub use alert::{
    AlertBounds, AlertBy, AlertChange, AlertGiven, AlertMetric, AlertNotice, AlertRule, AlertSide,
    AlertSource, AlertWatch, TeamAlertRule, UnknownAlertMetric, milli,
};
pub use clock::{Clock, Sleep, TooLate, within};
pub use death::{Cause, Exit, ExitStatus, KillReason, LastAndMax, OomKills, SampleSummary};
pub use details::{
    CpuDetails, Details, DiskDetails, DiskTraffic, Interface, LinkTraffic, MemoryDetails, Pressure,
    Pressures, Process, ProcessReading, Stall,
};
pub use entropy::Entropy;
pub use event::{
    Death, Event, EventClass, EventDraft, EventType, EventTypes, ExecutionSummary, FIRST_NAMED_CODE, Fact,
    UnknownEventType, Update, Visibility, WebhookChange, WebhookNotice,
};
pub use event_counts::{EventCounter, EventCounts};
pub use event_filter::EventFilter;
pub use history::{Complaint, History, LoggedSandbox};
pub use id::{
    AlertRuleId, ApiKeyId, BuildId, DeliveryId, EventId, ExecutionId, MalformedId, NodeId, ReplayId,
    SandboxId, TeamId, TemplateId, WebhookId,
};
pub use log::{LogEntry, LogLevel, LogSource};
pub use metrics::{Counters, MetricEntry, MetricField, MetricKind, MetricUnit, Sample, Values};
pub use origin::{Actor, Component, Origin};
pub use prices::{Amount, MalformedAmount, Prices};
pub use sandbox::{NetworkConfig, OnTimeout, Sandbox, SandboxSpec};
pub use secret::Secret;
pub use signal::{Signal, Signals};
pub use state::{Denied, Execution, Paused, Span, State, StateName, Transition};
pub use steady::Steady;
pub use subject::{MalformedSubject, SandboxRef, Subject, SubjectKey};
pub use team::{ApiKey, KeyMask, Team, TeamLimits};
pub use template::{Build, Rootfs, Template, TemplateKind};
pub use uptime::{BootId, Stamp, Uptime};
pub use webhook::{
    Attempt, AttemptOutcome, ErrorClass, Exception, Ordering, PayloadStyle, Replay, ReplayState,
    RetiredSecret, Retry, Selection, Webhook, WebhookFilter, WebhookHealth, WebhookOptions,
    is_reserved_header,
};

/// A point in time, UTC.
pub use jiff::Timestamp;
