use std::collections::BTreeMap;

use sandscope_model::{ExecutionId, Rootfs, SandboxId, Secret, TemplateId};

/// What a sandbox is made of.
#[derive(Debug, Clone)]
pub struct LaunchSpec {
    /// The sandbox.
    pub id: SandboxId,
    /// Its first execution.
    pub execution_id: ExecutionId,
    /// Its template, for its environment.
    pub template_id: TemplateId,
    /// What its root filesystem starts from.
    pub rootfs: Rootfs,
    /// How many CPUs it may use.
    pub vcpu_count: u32,
    /// Memory limit, in MiB.
    pub memory_mb: u32,
    /// Size of the writable layer, in MiB.
    pub disk_mb: u32,
    /// Environment of every process started in it.
    pub env_vars: BTreeMap<String, String>,
    /// Token the agent asks for, if any.
    pub access_token: Option<Secret>,
}
