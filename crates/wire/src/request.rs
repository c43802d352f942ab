//! Bodies of the sandbox operations, as clients send them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::object;

/// Body of create. Options this server does not have yet are read too, to be refused by name instead of ignored;
/// they are left out of the documentation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewSandbox {
    /// Template to start from: an id, a name or `namespace/name`, each with an optional `:tag`.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// Seconds to live. Default 15 on `/sandboxes`, 300 on `/v2/sandboxes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    pub timeout: Option<i64>,
    /// Pause instead of kill when the time is up.
    #[serde(rename = "autoPause", default, skip_serializing_if = "Option::is_none")]
    pub auto_pause: Option<bool>,
    /// Only `true` (pausing keeps memory).
    #[serde(rename = "autoPauseMemory", default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub auto_pause_memory: Option<bool>,
    /// Whether traffic to the paused sandbox resumes it.
    #[serde(
        rename = "autoResume",
        default,
        deserialize_with = "object::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub auto_resume: Option<AutoResume>,
    /// Whether the agent asks for a token: without one, the sandbox's id alone opens it. `/v2/sandboxes` ignores this:
    /// always. `/sandboxes` does where nothing is said, but for SDKs older than 1.5, which know no tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// Recorded; sandboxes have no way out to the internet yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_internet_access: Option<bool>,
    /// Network rules.
    #[serde(default, deserialize_with = "object::option", skip_serializing_if = "Option::is_none")]
    pub network: Option<NewNetwork>,
    /// Labels: shown in lists and events, and lists can be filtered by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Environment of every process started in the sandbox.
    #[serde(rename = "envVars", default, skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// Webhooks that get this sandbox's events, its `created` among them, and go with it: up to 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 5)]
    pub webhooks: Vec<crate::webhook::WebhookCreate>,
    /// Which MCP servers the client starts inside. The client does all the work; the server takes this and keeps nothing.
    #[serde(default, deserialize_with = "object::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub mcp: Option<BTreeMap<String, Value>>,
    /// Not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub iam: Option<Value>,
    /// Not there yet.
    #[serde(rename = "volumeMounts", default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub volume_mounts: Option<Value>,
}

impl NewSandbox {
    /// The first option given that this server does not have.
    pub fn unsupported(&self) -> Option<&'static str> {
        let network = self.network.as_ref();
        let of_network = |read: fn(&NewNetwork) -> &Option<Value>| network.is_some_and(|n| given(read(n)));
        [
            ("volumeMounts", given(&self.volume_mounts)),
            ("iam", given(&self.iam)),
            ("autoPauseMemory: false", self.auto_pause_memory == Some(false)),
            ("network.egressProxy", of_network(|n| &n.egress_proxy)),
            ("network.rules", of_network(|n| &n.rules)),
            ("network.httpsPorts", of_network(|n| &n.https_ports)),
            ("network.dnsServers", of_network(|n| &n.dns_servers)),
            (
                "network.allowOut",
                network.and_then(|n| n.allow_out.as_ref()).is_some_and(|list| !list.is_empty()),
            ),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

/// Whether an option asks for anything: clients also send `null`, `{}` and `[]` for "not given".
fn given(value: &Option<Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// Whether traffic to a paused sandbox resumes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AutoResume {
    /// Whether it does.
    #[serde(default)]
    pub enabled: bool,
}

/// Network rules of a new sandbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewNetwork {
    /// Whether ports other than the agent's answer without a traffic token. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_public_traffic: Option<bool>,
    /// Not there yet: only empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub allow_out: Option<Vec<String>>,
    /// Recorded; sandboxes have no way out yet, so every such rule holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_out: Option<Vec<String>>,
    /// Not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub egress_proxy: Option<Value>,
    /// What programs inside see as the host they were asked for; `${PORT}` stands for the port, as in
    /// `localhost:${PORT}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_request_host: Option<String>,
    /// Not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub rules: Option<Value>,
    /// Not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub https_ports: Option<Value>,
    /// Not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub dns_servers: Option<Value>,
}

/// Body of connect on `/sandboxes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectSandbox {
    /// Seconds to live from now. A running sandbox's time is only ever extended.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    pub timeout: i64,
}

/// Body of connect on `/v2/sandboxes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectSandboxV2 {
    /// Seconds to live from now, default 300. A running sandbox's time is only ever extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    pub timeout: Option<i64>,
    /// Without a timeout: a paused sandbox runs for the time that it had left, a running one's time stays as it is.
    #[serde(rename = "keepTimeout", default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub keep_timeout: Option<bool>,
}

/// Body of resume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResumedSandbox {
    /// Seconds to live from now, default 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    pub timeout: Option<i64>,
}

/// Body of pause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxPauseRequest {
    /// Only `true`: pausing keeps memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub memory: Option<bool>,
}

/// Body of timeout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxTimeoutRequest {
    /// Seconds to live from now; 0 or less: its time is up.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    pub timeout: i64,
}

/// Body of refreshes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxRefreshRequest {
    /// Seconds to live from now, at least (less than 15 counts as 15). Default 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 3600)]
    pub duration: Option<i64>,
}

/// Body of snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxSnapshotRequest {
    /// Name of the snapshot: `name` or `name:tag`. A name in use gets a new build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
