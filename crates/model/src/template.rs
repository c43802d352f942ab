use serde::{Deserialize, Serialize};

use crate::{BuildId, SandboxId, TeamId, TemplateId, Timestamp};

/// Something sandboxes are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The template's id.
    pub id: TemplateId,
    /// The team that owns it; `None` means it comes with the server and everybody may use it.
    pub team_id: Option<TeamId>,
    /// Its name without namespace and tag, if it has one: unique within a team.
    pub name: Option<String>,
    /// Template or snapshot.
    pub kind: TemplateKind,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where a template came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateKind {
    /// Built, or shipped with the server.
    Template,
    /// A checkpoint of a sandbox.
    Snapshot,
}

/// One build of a template, found by template and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The build's id.
    pub id: BuildId,
    /// Of which template.
    pub template_id: TemplateId,
    /// What its sandboxes' root filesystem starts from.
    pub rootfs: Rootfs,
    /// CPUs of its sandboxes.
    pub vcpu_count: u32,
    /// Memory of its sandboxes, in MiB.
    pub memory_mb: u32,
    /// Size of the writable layer, in MiB.
    pub disk_mb: u32,
    /// For a snapshot: the sandbox it was taken of.
    pub source_sandbox_id: Option<SandboxId>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a root filesystem starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// The host's programs, read-only, with a generated `/etc` and an empty writable layer.
    Host,
    /// A writable layer captured by a checkpoint, over the host's programs. The engine finds it by the build id
    /// it was captured under.
    Snapshot(BuildId),
}
