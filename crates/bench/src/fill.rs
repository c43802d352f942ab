//! A long log, made without making sandboxes.

use sandscope_model::{
    Clock as _, EventDraft, EventId, ExecutionId, Fact, KillReason, Sandbox, SandboxId, State, TeamId,
    TemplateId, Update,
};
use sandscope_store::{Change, Facts};
use sandscope_system::{OsEntropy, SystemClock};
use tokio::task::JoinSet;

/// Adds `n` events to the log of `team_id`, of `n_sandboxes` ended sandboxes at once: the store groups the commits that
/// are under way.
///
/// # Errors
/// The store refused a commit; what was committed before stays.
pub async fn fill_log(facts: &Facts, team_id: TeamId, n: usize, n_sandboxes: usize) -> anyhow::Result<()> {
    let mut writers = JoinSet::new();
    for nth in 0..n_sandboxes {
        let each = n / n_sandboxes + usize::from(nth < n % n_sandboxes);
        writers.spawn(write(facts.clone(), ended(team_id), each));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// One ended sandbox with `n` events.
async fn write(facts: Facts, mut sandbox: Sandbox, n: usize) -> anyhow::Result<()> {
    facts.admit_sandbox(&sandbox, u32::MAX, None).await?;
    for _ in 0..n {
        let event = event(&sandbox);
        facts.commit(Change { sandbox: sandbox.clone(), event: Some(event), snapshot: None }).await?;
        sandbox.generation += 1;
    }
    Ok(())
}

/// Something that happens to `sandbox` now.
pub(super) fn event(sandbox: &Sandbox) -> EventDraft {
    let now = SystemClock.now();
    let moved = Fact::Updated(Update::TimeoutMoved { end_at: now });
    EventDraft::of_sandbox(EventId::generate(&OsEntropy), sandbox, None, moved, now)
}

/// A sandbox that ended.
pub(super) fn ended(team_id: TeamId) -> Sandbox {
    let now = SystemClock.now();
    let state = State::Killed {
        reason: KillReason::Request,
        exit: None,
        killed_at: now,
        last_execution_id: ExecutionId::generate(&OsEntropy),
    };
    let id = (SandboxId::generate(&OsEntropy), team_id, TemplateId::generate(&OsEntropy));
    let mut sandbox = Sandbox::example(id, state, now);
    sandbox.spec.alias = Some("base".to_owned());
    sandbox
}
