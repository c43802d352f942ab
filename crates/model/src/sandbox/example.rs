//! A made-up sandbox: what fills a store for figures, and for tests.

use super::{OnTimeout, Sandbox, SandboxSpec};
use crate::{BuildId, Rootfs, SandboxId, State, TeamId, TemplateId, Timestamp};

impl Sandbox {
    /// A sandbox of `team_id` that was made at `at` and is in `state`: 2 CPUs, 512 MiB of memory and as much disk, no
    /// labels, no tokens, of `template_id` without a name.
    pub fn example(
        (id, team_id, template_id): (SandboxId, TeamId, TemplateId),
        state: State,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            team_id,
            spec: SandboxSpec {
                template_id,
                build_id: BuildId::from(uuid::Uuid::nil()),
                alias: None,
                rootfs: Rootfs::Host,
                vcpu_count: 2,
                memory_mb: 512,
                disk_mb: 512,
                metadata: [].into(),
                env_vars: [].into(),
                envd_access_token: None,
                traffic_access_token: None,
                timeout_s: 300,
                on_timeout: OnTimeout::Kill,
                auto_resume: false,
                allow_internet_access: None,
                network: None,
            },
            state,
            intent_origin: None,
            generation: 0,
            created_at: at,
            started_at: at,
            end_at: at,
        }
    }
}
