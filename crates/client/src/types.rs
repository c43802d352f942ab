//! What the API says, as far as this client reads it. Keys it does not know are ignored, as a client should.

use std::collections::BTreeMap;

use sandscope_wire::more_metrics::MoreMetrics;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A sandbox to be made.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSandbox {
    /// Template id or name.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// Seconds until it times out; the server's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Whether it is paused rather than killed when its time is up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_pause: bool,
    /// Labels, by key.
    pub metadata: BTreeMap<String, String>,
    /// Environment of every process in it.
    pub env_vars: BTreeMap<String, String>,
    /// Webhooks of its own, as the API takes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Value>,
}

/// A sandbox, as create and connect answer.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// The sandbox's id.
    #[serde(rename = "sandboxID")]
    pub sandbox_id: String,
    /// Its template's id.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// Version of its agent's protocol.
    pub envd_version: String,
    /// What its agent asks for.
    #[serde(default)]
    pub envd_access_token: Option<String>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("sandbox_id", &self.sandbox_id).finish_non_exhaustive()
    }
}

/// A sandbox in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSandbox {
    /// The sandbox's id.
    #[serde(rename = "sandboxID")]
    pub sandbox_id: String,
    /// Its template's id.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// Its template's name.
    #[serde(default)]
    pub alias: Option<String>,
    /// When it was started (RFC 3339).
    pub started_at: String,
    /// When it times out (RFC 3339).
    pub end_at: String,
    /// The CPU limit, in CPUs.
    pub cpu_count: u32,
    /// Memory limit, in MiB.
    #[serde(rename = "memoryMB")]
    pub memory_mb: u32,
    /// Size of the writable layer, in MiB.
    #[serde(rename = "diskSizeMB")]
    pub disk_size_mb: u32,
    /// `running` or `paused`.
    pub state: String,
    /// Version of its agent's protocol.
    pub envd_version: String,
    /// Labels, by key.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Everything about a sandbox but its secrets.
pub type SandboxDetail = ListedSandbox;

/// One point of a sandbox's metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// When (RFC 3339).
    pub timestamp: String,
    /// When, in whole seconds since 1970.
    pub timestamp_unix: i64,
    /// CPU used over all CPUs together, 0 to 100.
    pub cpu_used_pct: f64,
    /// The CPU limit, in CPUs.
    pub cpu_count: u32,
    /// Memory used, in bytes.
    pub mem_used: u64,
    /// Memory limit, in bytes.
    pub mem_total: u64,
    /// Page cache, in bytes.
    pub mem_cache: u64,
    /// Disk used, in bytes.
    pub disk_used: u64,
    /// Disk size, in bytes.
    pub disk_total: u64,
    /// Further numbers, where the server reports them.
    #[serde(flatten)]
    pub more: MoreMetrics,
}

/// A lifecycle event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its id.
    pub id: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it carries.
    pub event_data: Option<Value>,
    /// Which sandbox, if it is about one or comes from one.
    #[serde(default)]
    pub sandbox_id: Option<String>,
    /// Its number in the team's log.
    #[serde(default)]
    pub sequence: u64,
    /// When (RFC 3339).
    pub timestamp: String,
    /// Every other key.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, Value>,
}

/// A snapshot.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// What sandboxes are created from.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: String,
    /// Its names.
    #[serde(default)]
    pub names: Vec<String>,
}

/// A webhook to be registered.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewWebhook {
    /// What people call it.
    pub name: String,
    /// Where events go.
    pub url: String,
    /// Which types go there.
    pub events: Vec<String>,
    /// Whether it is delivered to.
    pub enabled: bool,
    /// What deliveries are signed with.
    pub signature_secret: String,
}

/// A registered webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where events go.
    pub url: String,
    /// Whether it is delivered to.
    pub enabled: bool,
    /// Which types go there.
    pub events: Vec<String>,
}

/// All attempts at delivering one event.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDeliveryGroup {
    /// Which event.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// The attempts.
    pub attempts: Vec<WebhookDelivery>,
}

/// One attempt.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    /// Its id.
    pub id: String,
    /// `success` or `failed`.
    pub status: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// What went wrong.
    #[serde(default)]
    pub error_message: Option<String>,
}
