//! One running sandbox: asks its agent for lines and stores them.

use std::time::Duration;

use sandscope_agent_link::{AgentLink, LinkError};
use sandscope_engine::DialFailure;
use sandscope_model::{SandboxId, Secret};
use sandscope_store::{LogBatch, StoreError};

use crate::collector::Shared;
use crate::entry;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// Follows a sandbox until it no longer runs. Can be dropped at any time: what was not stored is fetched again.
pub(crate) async fn follow(shared: &Shared, id: &SandboxId) {
    let mut retry = FIRST_RETRY;
    loop {
        let mut n_answers = 0_u64;
        let error = match follow_connection(shared, id, &mut n_answers).await {
            Ok(()) | Err(FollowError::Link(LinkError::Connect(DialFailure::NotRunning))) => return,
            Err(error) => error,
        };
        tracing::debug!(sandbox_id = %id, %error, "a sandbox's log cannot be followed right now");
        retry = if n_answers > 0 { FIRST_RETRY } else { (retry * 2).min(LONGEST_RETRY) };
        shared.clock.sleep(retry).await;
        if !shared.readings.running().contains(id) {
            return;
        }
    }
}

/// Over one connection, until it fails. `Ok` if there is nothing to follow.
async fn follow_connection(shared: &Shared, id: &SandboxId, n_answers: &mut u64) -> Result<(), FollowError> {
    // One that the store does not know yet is found again by the next look.
    let Some(sandbox) = shared.facts.sandbox(id).await? else { return Ok(()) };
    let token: Option<Secret> = sandbox.spec.envd_access_token.clone();
    drop(sandbox);
    let mut taken_upto = shared.facts.logs_taken_upto(id).await?;
    let mut agent = AgentLink::connect(&*shared.door, id).await?;
    loop {
        let after = taken_upto.unwrap_or(0);
        let lines = agent.read_logs(after, token.as_ref()).await?;
        *n_answers += 1;
        let n_bytes = lines.lines.iter().map(|line| line.text.len()).sum();
        let mut n_entries = 0;
        if lines.upto > after {
            let upto = lines.upto;
            let entries = entry::entries(lines, taken_upto, shared.clock.now());
            n_entries = entries.len();
            let batch = LogBatch { sandbox_id: id.clone(), entries, taken_upto: Some(upto) };
            shared.facts.append_logs(batch).await?;
            taken_upto = Some(upto);
        }
        shared.clock.sleep(shared.pace.pause(shared.clock.uptime(), n_entries, n_bytes)).await;
    }
}
