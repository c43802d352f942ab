//! Sandboxes as answered.

use std::collections::BTreeMap;

use sandscope_model::{OnTimeout, Sandbox as Model, Stamp, State, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Legacy: clients append it to sandbox ids of old servers; always the same.
pub const CLIENT_ID: &str = "6532622b";

/// What the wire calls a sandbox's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// Its processes run.
    Running,
    /// They are frozen.
    Paused,
}

impl SandboxState {
    /// What clients see of `state`; `None` for a sandbox they do not see (yet, or any more).
    pub const fn of(state: &State) -> Option<Self> {
        match state {
            State::Running { .. } => Some(Self::Running),
            State::Pausing { .. } | State::Paused { .. } | State::Resuming { .. } => Some(Self::Paused),
            State::Creating { .. } | State::Killing { .. } | State::Killed { .. } => None,
        }
    }
}

/// Answer of create, connect and resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// The base template.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// The sandbox.
    #[serde(rename = "sandboxID")]
    pub sandbox_id: String,
    /// The template's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub alias: Option<String>,
    /// Legacy, constant.
    #[serde(rename = "clientID")]
    #[schema(deprecated)]
    pub client_id: String,
    /// Version of the protocol the sandbox's agent speaks.
    #[serde(rename = "envdVersion")]
    pub envd_version: String,
    /// Token the agent asks for (`X-Access-Token`), if it asks for one.
    #[serde(rename = "envdAccessToken", default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub envd_access_token: Option<String>,
    /// Token other ports ask for (`e2b-traffic-access-token`), if public traffic is off.
    #[serde(rename = "trafficAccessToken", default)]
    pub traffic_access_token: Option<String>,
    /// Domain under which the sandbox's ports are reached; `null`: the client's own setting.
    #[serde(default)]
    pub domain: Option<String>,
}

impl Sandbox {
    /// How `sandbox` is answered.
    pub fn new(sandbox: &Model, envd_version: &str, domain: Option<&str>) -> Self {
        let spec = &sandbox.spec;
        let expose = |secret: &sandscope_model::Secret| secret.expose().to_owned();
        Self {
            template_id: spec.template_id.to_string(),
            sandbox_id: sandbox.id.to_string(),
            alias: spec.alias.clone(),
            client_id: CLIENT_ID.to_owned(),
            envd_version: envd_version.to_owned(),
            envd_access_token: spec.envd_access_token.as_ref().map(expose),
            traffic_access_token: spec.traffic_access_token.as_ref().map(expose),
            domain: domain.map(ToOwned::to_owned),
        }
    }
}

/// An element of the sandbox lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedSandbox {
    /// The base template.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// The template's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub alias: Option<String>,
    /// The sandbox.
    #[serde(rename = "sandboxID")]
    pub sandbox_id: String,
    /// Legacy, constant.
    #[serde(rename = "clientID")]
    #[schema(deprecated)]
    pub client_id: String,
    /// Start of the current execution; of a paused sandbox, of the last.
    #[serde(rename = "startedAt")]
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it times out; of a paused sandbox, when it was paused.
    #[serde(rename = "endAt")]
    #[schema(value_type = String, format = DateTime)]
    pub end_at: Timestamp,
    /// CPUs.
    #[serde(rename = "cpuCount")]
    pub cpu_count: u32,
    /// Memory limit, in MiB.
    #[serde(rename = "memoryMB")]
    pub memory_mb: u32,
    /// Size of the writable layer, in MiB.
    #[serde(rename = "diskSizeMB")]
    pub disk_size_mb: u32,
    /// The labels given at creation.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Running or paused.
    pub state: SandboxState,
    /// Version of the protocol the sandbox's agent speaks.
    #[serde(rename = "envdVersion")]
    pub envd_version: String,
}

impl ListedSandbox {
    /// How `sandbox` is listed at `now`; `None` if clients do not see it.
    pub fn new(sandbox: &Model, envd_version: &str, now: Stamp) -> Option<Self> {
        let spec = &sandbox.spec;
        Some(Self {
            template_id: spec.template_id.to_string(),
            alias: spec.alias.clone(),
            sandbox_id: sandbox.id.to_string(),
            client_id: CLIENT_ID.to_owned(),
            started_at: sandbox.started_at,
            end_at: sandbox.end_label(now),
            cpu_count: spec.vcpu_count,
            memory_mb: spec.memory_mb,
            disk_size_mb: spec.disk_mb,
            metadata: spec.metadata.clone(),
            state: SandboxState::of(&sandbox.state)?,
            envd_version: envd_version.to_owned(),
        })
    }
}

/// One sandbox in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxDetail {
    /// What the lists show.
    #[serde(flatten)]
    pub listed: ListedSandbox,
    /// Token the agent asks for (`X-Access-Token`), if it asks for one.
    #[serde(rename = "envdAccessToken", default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub envd_access_token: Option<String>,
    /// As given at creation.
    #[serde(rename = "allowInternetAccess", default)]
    pub allow_internet_access: Option<bool>,
    /// Domain under which the sandbox's ports are reached; `null`: the client's own setting.
    #[serde(default)]
    pub domain: Option<String>,
    /// Network rules, as given at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub network: Option<SandboxNetwork>,
    /// What happens when its time is up.
    pub lifecycle: SandboxLifecycle,
}

impl SandboxDetail {
    /// How `sandbox` is answered at `now`; `None` if clients do not see it.
    pub fn new(sandbox: &Model, envd_version: &str, domain: Option<&str>, now: Stamp) -> Option<Self> {
        let spec = &sandbox.spec;
        Some(Self {
            listed: ListedSandbox::new(sandbox, envd_version, now)?,
            envd_access_token: spec.envd_access_token.as_ref().map(|token| token.expose().to_owned()),
            allow_internet_access: spec.allow_internet_access,
            domain: domain.map(ToOwned::to_owned),
            network: spec.network.as_ref().map(|network| SandboxNetwork {
                allow_public_traffic: network.allow_public_traffic,
                allow_out: network.allow_out.clone(),
                deny_out: network.deny_out.clone(),
                mask_request_host: network.mask_request_host.clone(),
            }),
            lifecycle: SandboxLifecycle { auto_resume: spec.auto_resume, on_timeout: spec.on_timeout.into() },
        })
    }
}

/// Network rules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxNetwork {
    /// Whether ports other than the agent's answer without a traffic token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub allow_public_traffic: Option<bool>,
    /// What may be reached.
    #[serde(default)]
    pub allow_out: Vec<String>,
    /// What may not be reached.
    #[serde(default)]
    pub deny_out: Vec<String>,
    /// What programs inside see as the host they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mask_request_host: Option<String>,
}

/// What happens when a sandbox's time is up, and with traffic to it afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxLifecycle {
    /// Whether traffic to the paused sandbox resumes it.
    pub auto_resume: bool,
    /// What happens at `endAt`.
    pub on_timeout: SandboxOnTimeout,
}

/// What happens when a sandbox's time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxOnTimeout {
    /// It is killed.
    Kill,
    /// It is paused.
    Pause,
}

impl From<OnTimeout> for SandboxOnTimeout {
    fn from(on_timeout: OnTimeout) -> Self {
        match on_timeout {
            OnTimeout::Kill => Self::Kill,
            OnTimeout::Pause => Self::Pause,
        }
    }
}
