mod example;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    BuildId, Origin, Rootfs, SandboxId, SandboxRef, Secret, Stamp, State, Subject, TeamId, TemplateId,
    Timestamp, Uptime,
};

/// A sandbox as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sandbox {
    /// The sandbox's id.
    pub id: SandboxId,
    /// The team that owns it.
    pub team_id: TeamId,
    /// What it is, unchanged over its life.
    pub spec: SandboxSpec,
    /// Where it is in its life.
    pub state: State,
    /// Who asked for what is under way, in the states that are intents.
    pub intent_origin: Option<Origin>,
    /// Compare-and-set counter: every committed change raises it by one.
    pub generation: u64,
    /// When it was first started.
    pub created_at: Timestamp,
    /// When the current (or, if paused, the last) execution started.
    pub started_at: Timestamp,
    /// When it times out, as the wall clock was set when that was decided; once paused, when it was paused.
    pub end_at: Timestamp,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The base template: stable across pause and resume.
    pub template_id: TemplateId,
    /// The build the root filesystem was made from.
    pub build_id: BuildId,
    /// The template's name, if it has one.
    pub alias: Option<String>,
    /// What the root filesystem starts from.
    pub rootfs: Rootfs,
    /// The CPU limit, in CPUs.
    pub vcpu_count: u32,
    /// Memory limit, in MiB.
    pub memory_mb: u32,
    /// Size of the writable layer, in MiB.
    pub disk_mb: u32,
    /// The user's labels.
    pub metadata: BTreeMap<String, String>,
    /// Environment of every process started in it.
    pub env_vars: BTreeMap<String, String>,
    /// Token the agent asks for; `None` for a sandbox created with `secure: false` on the v1 route.
    pub envd_access_token: Option<Secret>,
    /// Token the edge asks for on ports other than the agent's, when public traffic is off.
    pub traffic_access_token: Option<Secret>,
    /// How long it was to run when it was made, in seconds; 0 in records from before this was kept. Traffic that
    /// resumes it gives it as long.
    #[serde(default)]
    pub timeout_s: u32,
    /// What happens at `end_at`.
    pub on_timeout: OnTimeout,
    /// Whether traffic to the paused sandbox resumes it.
    pub auto_resume: bool,
    /// As given by the client (`null` when not given).
    pub allow_internet_access: Option<bool>,
    /// As given by the client.
    pub network: Option<NetworkConfig>,
}

/// What happens when a sandbox's time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// It is killed.
    Kill,
    /// It is paused.
    Pause,
}

/// Network rules a client gave. Sandboxes have no way out yet, so only rules that hold without one are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Whether ports other than the agent's answer without a traffic token.
    pub allow_public_traffic: Option<bool>,
    /// Addresses (CIDR) and names that may be reached; always empty for now.
    pub allow_out: Vec<String>,
    /// Addresses (CIDR) that may not be reached.
    pub deny_out: Vec<String>,
    /// What programs inside see as the host they were asked for, `${PORT}` standing for the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_request_host: Option<String>,
}

impl Sandbox {
    /// When its time is up, of the boot that `now` is of.
    pub fn due(&self, now: Stamp) -> Uptime {
        let span = self.state.execution().and_then(|execution| execution.span_at(now));
        span.map_or_else(|| now.uptime_of(self.end_at), |span| span.due)
    }

    /// [`end_at`](Self::end_at), as the wall clock shows it that is set as `now` says: what is left of the sandbox's time
    /// does not change when the clock is set.
    pub fn end_label(&self, now: Stamp) -> Timestamp {
        let span = self.state.execution().and_then(|execution| execution.span_at(now));
        let step = span.and_then(|span| now.step_since(self.end_at, span.due));
        step.and_then(|step| self.end_at.checked_add(step).ok()).unwrap_or(self.end_at)
    }
}

impl SandboxRef {
    /// `sandbox` as it is now.
    pub fn of(sandbox: &Sandbox) -> Self {
        Self {
            id: sandbox.id.clone(),
            execution_id: sandbox.state.execution_id(),
            template_id: sandbox.spec.template_id.clone(),
            build_id: sandbox.spec.build_id,
            metadata: sandbox.spec.metadata.clone(),
        }
    }
}

impl Subject {
    /// `sandbox` as it is now.
    pub fn of(sandbox: &Sandbox) -> Self {
        Self::Sandbox(SandboxRef::of(sandbox))
    }
}
