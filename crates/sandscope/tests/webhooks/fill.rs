//! Makes a long log without making sandboxes.

use anyhow::{Context as _, Result};
use sandscope_model::{
    Entropy, EventDraft, ExecutionId, Fact, KillReason, OnTimeout, Rootfs, Sandbox, SandboxId, SandboxSpec,
    State, TeamId, TemplateId, Timestamp, Update,
};
use sandscope_store::{Change, Store};
use tokio::task::JoinSet;

use crate::server::Server;

/// Sandboxes whose history it is: commits at once, as the store groups what is under way.
const N_SANDBOXES: usize = 256;

#[derive(Debug)]
struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}

/// Adds `n` events to the log of the stopped server's team.
pub(crate) async fn fill(server: &Server, n: usize) -> Result<()> {
    let store = server.open_store()?;
    let team_id = store.teams().await?.first().context("there is no team")?.id;
    let mut writers = JoinSet::new();
    for nth in 0..N_SANDBOXES {
        let each = n / N_SANDBOXES + usize::from(nth < n % N_SANDBOXES);
        writers.spawn(write(store.clone(), ended(team_id), each));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    store.close().await;
    Ok(())
}

async fn write(store: Store, mut sandbox: Sandbox, n: usize) -> Result<()> {
    store.admit_sandbox(&sandbox, u32::MAX, None).await?;
    for _ in 0..n {
        let (id, now) = (sandscope_model::EventId::generate(&Random), Timestamp::now());
        let moved = Fact::Updated(Update::TimeoutMoved { end_at: now });
        let event = EventDraft::of_sandbox(id, &sandbox, None, moved, now);
        store.commit(Change { sandbox: sandbox.clone(), event: Some(event), snapshot: None }).await?;
        sandbox.generation += 1;
    }
    Ok(())
}

fn ended(team_id: TeamId) -> Sandbox {
    let now = Timestamp::now();
    Sandbox {
        id: SandboxId::generate(&Random),
        team_id,
        spec: SandboxSpec {
            template_id: TemplateId::generate(&Random),
            build_id: sandscope_model::BuildId::generate(&Random),
            alias: None,
            rootfs: Rootfs::Host,
            vcpu_count: 2,
            memory_mb: 512,
            disk_mb: 64,
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
        state: State::Killed {
            reason: KillReason::Request,
            exit: None,
            killed_at: now,
            last_execution_id: ExecutionId::generate(&Random),
        },
        intent_origin: None,
        generation: 0,
        created_at: now,
        started_at: now,
        end_at: now,
    }
}
