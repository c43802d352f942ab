//! Typed client of the public API and of the agent protocol.
//!
//! The command line, the demo and the benchmarks go through it, so they can do nothing a user could not do:
//!
//! ```text
//! Client ──► Transport ──► control plane   (X-API-Key)
//!    └─► processes, files ──► Transport ──► edge ──► agent   (E2b-Sandbox-Id/-Port, X-Access-Token)
//! ```
//!
//! HTTP/1.1 over plain TCP or TLS (`sandscope_outbound`); connections are kept and reused. Every request has a deadline, every body a limit. A
//! request is sent once: what to do after a failure is the caller's decision, but for [`Follow`], which takes a broken
//! stream up again.

#![warn(clippy::disallowed_methods)]

mod agent;
mod alerts;
mod control;
mod error;
mod events;
mod files;
mod follow;
mod logs;
mod metrics;
mod nodes;
mod process;
mod transport;
mod types;
mod webhooks;

pub use control::{Client, ClientOptions};
pub use error::ClientError;
pub use events::{EventFilter, EventPage, EventQuery};
pub use files::{Download, EntryInfo, FileType};
pub use follow::{Follow, Followed};
pub use logs::{LogEntry, LogQuery};
pub use metrics::Seconds;
pub use process::{Command, ProcessEvent, ProcessStream, Signal, TerminalSize};
pub use sandscope_outbound::Reply;
pub use transport::Transport;
pub use types::{
    Event, ListedSandbox, Metric, NewSandbox, NewWebhook, Sandbox, SandboxDetail, Snapshot, Webhook,
    WebhookDelivery, WebhookDeliveryGroup,
};

pub use sandscope_wire::alert::{AlertRuleBody, AlertRuleView, Alerts, FiringAlertView};
pub use sandscope_wire::details::{
    PressureMetric, PressureMetrics, SandboxDetails, SandboxProcess, StallMetric,
};
pub use sandscope_wire::metrics::{LiveMetric, LiveTeam, SandboxMetric};
pub use sandscope_wire::more_metrics::MoreMetrics;
pub use sandscope_wire::node::NodeView;
