use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Uptime};
use sandscope_store::{Attempts, EventLog, Facts, Logs, SampleRetention, Samples, StoreError};
use sandscope_tasks::{Phase, Task, Tasks};
use tokio_util::sync::CancellationToken;

const ROUND: Duration = Duration::from_secs(60);
const SEALING: Duration = Duration::from_secs(600);
const REMOVAL: Duration = Duration::from_secs(3600);

/// What keeping house is made of.
#[derive(Debug, Clone)]
pub struct HousekeepingOptions {
    /// What ends with its team's retention.
    pub facts: Facts,
    /// What is summed up.
    pub events: EventLog,
    /// What is sealed, and dropped later.
    pub samples: Samples,
    /// What ends after a week.
    pub attempts: Attempts,
    /// What ends after a week.
    pub logs: Logs,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// How long samples are kept.
    pub retention: SampleRetention,
}

/// Keeps house until `tasks` are drained.
pub fn start(options: HousekeepingOptions, tasks: &Tasks) {
    let stop = tasks.stopping(Phase::Observe);
    tasks.start(Task::restart("housekeeping", Phase::Observe), move || run(options.clone(), stop.clone()));
}

async fn run(options: HousekeepingOptions, stop: CancellationToken) {
    let (mut sealed_at, mut removed_at) = (None, None);
    loop {
        let now = options.clock.uptime();
        let is_due = |done_at: &mut Option<Uptime>, every: Duration| {
            let is_due = done_at.is_none_or(|at| now.since(at) >= every);
            if is_due {
                *done_at = Some(now);
            }
            is_due
        };
        let (seals, removes) = (is_due(&mut sealed_at, SEALING), is_due(&mut removed_at, REMOVAL));
        tokio::select! {
            () = stop.cancelled() => return,
            // Everything goes in small batches, so it can stop between any two of them.
            () = async {
                sum_up(&options.events).await;
                if seals {
                    tend(&options, removes).await;
                }
            } => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = options.clock.sleep(ROUND) => {}
        }
    }
}

async fn sum_up(events: &EventLog) {
    match events.sum_up_activity().await {
        Ok(n_blocks) => tracing::debug!(n_blocks, "activity summed up"),
        Err(error) => tracing::warn!(%error, "activity could not be summed up; reading it takes longer"),
    }
}

async fn tend(options: &HousekeepingOptions, removes: bool) {
    let HousekeepingOptions { facts, events: _, samples, attempts, logs, clock, retention } = options;
    match samples.seal_samples(clock.now()).await {
        Ok(sealed) => tracing::debug!(?sealed, "samples sealed"),
        Err(error) => tracing::warn!(%error, "samples could not be sealed"),
    }
    if !removes {
        return;
    }
    match samples.drop_samples(clock.now(), retention).await {
        Ok(n_samples) => tracing::debug!(n_samples, "old samples dropped"),
        Err(error) => tracing::warn!(%error, "old samples could not be dropped"),
    }
    // Each file for itself: one that cannot be written does not keep the others from being tidied.
    match facts.delete_expired(clock.now()).await {
        Ok(removed) => tracing::debug!(?removed, "retention"),
        Err(error) => not_removed(&error),
    }
    let attempts = attempts.delete_expired(clock.now()).await;
    let samples = samples.delete_expired(clock.now()).await;
    let logs = logs.delete_expired(clock.now()).await;
    for (of, n_removed) in [("attempts", attempts), ("samples", samples), ("logs", logs)] {
        match n_removed {
            Ok(n_removed) => tracing::debug!(of, n_removed, "retention"),
            Err(error) => not_removed(&error),
        }
    }
}

fn not_removed(error: &StoreError) {
    tracing::warn!(%error, "retention could not remove what is past its time");
}
