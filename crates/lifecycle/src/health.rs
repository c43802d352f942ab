//! Whether the agents of running sandboxes answer.
//!
//! ```text
//!   every interval: each running sandbox ──check──► well: forgotten
//!   at once: one whose counters cannot be read
//!                                           │
//!                                           ├────► silent: asked again every second; for as long as the patience: lost
//!                                           └────► not held by its control groups: lost at once
//!                                                      │
//!                                       its driver asks once more, then kills it and reports why
//! ```
//!
//! Ownership: one task owns what was heard; a driver alone decides. Nothing is kept over a restart. Failure: a host on
//! which agents cannot be asked counts as all of them being well.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::Ailment;
use sandscope_model::{Cause, SandboxId, Uptime};
use tokio::task::JoinSet;

use crate::context::Context;

/// How soon one that did not answer is asked again.
const RECHECK: Duration = Duration::from_secs(1);
/// Agents asked at once.
const AT_ONCE: usize = 16;

/// How agents are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthPolicy {
    /// How often each is asked.
    pub interval: Duration,
    /// For how long one may be silent before it counts as lost.
    pub patience: Duration,
}

/// Asks until the server stops.
pub(crate) async fn watch(context: Arc<Context>, policy: HealthPolicy) {
    let mut silent: HashMap<SandboxId, Uptime> = HashMap::new();
    let mut next_round = context.clock.uptime().after(policy.interval);
    loop {
        let recheck = (!silent.is_empty()).then(|| context.clock.uptime().after(RECHECK));
        let wake_at = recheck.map_or(next_round, |recheck| recheck.min(next_round));
        tokio::select! {
            biased;
            () = context.draining.cancelled() => return,
            () = context.clock.sleep_until(wake_at) => {}
            () = context.suspects.added() => {}
        }
        let running = context.readings.running();
        silent.retain(|id, _| running.contains(id));
        let suspects = context.suspects.take();
        let due: HashSet<SandboxId> = if context.clock.uptime() >= next_round {
            next_round = context.clock.uptime().after(policy.interval);
            running.into_iter().collect()
        } else {
            // Both: somebody under suspicion all the time must not keep those that are silent from being asked again.
            let suspects = suspects.into_iter().filter(|id| running.contains(id));
            silent.keys().cloned().chain(suspects).collect()
        };
        for (id, ailment) in check_all(&context, due).await {
            let Err(ailment) = ailment else {
                silent.remove(&id);
                continue;
            };
            let since = *silent.entry(id.clone()).or_insert_with(|| context.clock.uptime());
            let is_lost =
                ailment != Ailment::Silent || since.after(policy.patience) <= context.clock.uptime();
            if is_lost {
                silent.remove(&id);
                report(&context, &id, ailment.cause());
            }
        }
    }
}

async fn check_all(context: &Arc<Context>, due: HashSet<SandboxId>) -> Vec<(SandboxId, Result<(), Ailment>)> {
    let mut answers = Vec::with_capacity(due.len());
    let mut asked = JoinSet::new();
    for id in due {
        if asked.len() >= AT_ONCE {
            answers.extend(asked.join_next().await.and_then(Result::ok));
        }
        let engine = Arc::clone(&context.engine);
        asked.spawn(async move {
            let answer = engine.check(&id).await;
            (id, answer)
        });
    }
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer.ok());
    }
    answers
}

/// Notifies the driver of one that is lost.
fn report(context: &Context, id: &SandboxId, cause: Cause) {
    if let Some(handle) = context.registry.any(id) {
        tracing::warn!(sandbox_id = %id, cause = cause.as_str(), "a sandbox is of no use any more");
        handle.ailment.send_replace(Some(cause));
    }
}
