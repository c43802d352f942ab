//! Keeps store and host in agreement while the server runs, as a start does once.
//!
//! ```text
//!   every interval, or when nudged:
//!      survey of the host ─┐
//!      rows of the store  ─┼─► what disagrees, seen for longer than the grace? ─► put right, or said
//!      live drivers       ─┘
//! ```
//!
//! | found | done |
//! |---|---|
//! | a sandbox on the host, gone or unknown in the store | removed |
//! | a sandbox with a driver, nothing of it on the host | its driver records its death: `orphaned` |
//! | directory, control groups, loop device, mount or trash of no sandbox | removed; an engine reports its own alone, however many servers the host has |
//! | a captured layer of no build | removed |
//! | a build whose layer is not there | said: nothing can bring it back |
//!
//! Whatever is under way disagrees for a moment, so a disagreement counts only once it has been seen twice, a grace
//! apart. Running it again changes nothing. Ownership: one task owns what was seen; sandboxes that live are changed
//! by their drivers alone. Failure: what cannot be read or removed is said and tried again by the next round.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::{EngineError, Stray, Survey};
use sandscope_model::{BuildId, Cause, Exit, SandboxId, State, StateName, Timestamp, Uptime};
use sandscope_store::StoreError;
use tokio::sync::watch;

use crate::context::Context;

/// What the reconciler has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Rounds so far.
    pub n_rounds: u64,
    /// Those of them that could not compare at all.
    pub n_failed: u64,
    /// When the last one ended.
    pub last_at: Option<Timestamp>,
    /// How long the last one took.
    pub last_took: Duration,
    /// How long all of them took.
    pub busy: Duration,
    /// Disagreements the last one saw, those included that may be of something under way.
    pub n_open: usize,
    /// Disagreements put right since the server started.
    pub n_settled: u64,
    /// What the last round could not put right, in words.
    pub problems: Vec<String>,
}

/// A disagreement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Finding {
    Unowned(SandboxId),
    Vanished(SandboxId),
    Stray(Stray),
    Layer(BuildId),
    MissingLayer(BuildId),
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unowned(id) => write!(f, "sandbox {id} is on the host, but nobody owns it"),
            Self::Vanished(id) => write!(f, "sandbox {id} lives, but nothing of it is on the host"),
            Self::Stray(stray) => write!(f, "{stray} belongs to nothing"),
            Self::Layer(build) => write!(f, "layer {build} belongs to no build"),
            Self::MissingLayer(build) => write!(f, "the layer of build {build} is not on the host"),
        }
    }
}

/// Rounds until the server stops.
pub(crate) async fn run(
    context: Arc<Context>,
    interval: Duration,
    grace: Duration,
    status: watch::Sender<Reconciled>,
) {
    let mut seen: HashMap<Finding, Uptime> = HashMap::new();
    loop {
        // Soon again while something is open.
        let pause = if seen.keys().all(|finding| matches!(finding, Finding::MissingLayer(_))) {
            interval
        } else {
            interval.min(grace)
        };
        tokio::select! {
            biased;
            () = context.draining.cancelled() => return,
            () = context.nudge.notified() => {}
            () = context.clock.sleep(pause) => {}
        }
        let begun_at = context.clock.uptime();
        let round = round(&context, &mut seen, grace).await;
        let took = context.clock.uptime().since(begun_at);
        status.send_modify(|status| {
            status.n_rounds += 1;
            status.n_failed += u64::from(round.is_err());
            status.last_took = took;
            status.busy += took;
            status.last_at = Some(context.clock.now());
            status.n_open = seen.len();
            match round {
                Ok(Round { n_settled, problems }) => {
                    status.n_settled += n_settled;
                    status.problems = problems;
                }
                Err(problem) => status.problems = vec![problem],
            }
        });
    }
}

#[derive(Default)]
struct Round {
    n_settled: u64,
    problems: Vec<String>,
}

async fn round(
    context: &Arc<Context>,
    seen: &mut HashMap<Finding, Uptime>,
    grace: Duration,
) -> Result<Round, String> {
    let survey = context.engine.survey().await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the host cannot be surveyed");
        format!("the host cannot be surveyed: {error}")
    })?;
    let found = compare(context, &survey).await.map_err(|error| {
        tracing::error!(%error, "the store cannot be compared with the host");
        format!("the store cannot be read: {error}")
    })?;
    let now = context.clock.uptime();
    seen.retain(|finding, _| found.contains(finding));
    let mut round = Round::default();
    for finding in found {
        let first_seen = *seen.entry(finding.clone()).or_insert(now);
        if first_seen.after(grace) > now {
            continue;
        }
        match settle(context, &finding).await {
            Ok(true) => {
                tracing::warn!(%finding, "put right");
                seen.remove(&finding);
                round.n_settled += 1;
            }
            Ok(false) => {
                tracing::error!(%finding, "cannot be put right");
                round.problems.push(finding.to_string());
            }
            Err(error) => {
                tracing::error!(%finding, error = &error as &dyn std::error::Error, "not put right yet");
                round.problems.push(format!("{finding}: {error}"));
            }
        }
    }
    Ok(round)
}

/// Everything on which the host and the store disagree right now.
async fn compare(context: &Context, survey: &Survey) -> Result<Vec<Finding>, StoreError> {
    let mut found = Vec::new();
    let on_host: HashSet<&SandboxId> = survey.sandboxes.iter().collect();
    for id in &survey.sandboxes {
        if context.registry.any(id).is_none() && is_gone(context, id).await? {
            found.push(Finding::Unowned(id.clone()));
        }
    }
    for (id, state) in context.registry.states() {
        let is_settled = matches!(state, StateName::Running | StateName::Paused);
        if is_settled && !on_host.contains(&id) {
            found.push(Finding::Vanished(id));
        }
    }
    for stray in &survey.strays {
        let is_driven = stray.sandbox.as_ref().is_some_and(|id| context.registry.any(id).is_some());
        if !is_driven {
            found.push(Finding::Stray(stray.clone()));
        }
    }
    let recorded: HashSet<BuildId> = context.facts.captured_layers().await?.into_iter().collect();
    // Another node may keep its own in a place that both see.
    let elsewhere: HashSet<BuildId> = context.facts.layers_elsewhere().await?.into_iter().collect();
    let layers: HashSet<BuildId> = survey.layers.iter().copied().collect();
    let unknown = layers.difference(&recorded).filter(|layer| !elsewhere.contains(layer));
    found.extend(unknown.copied().map(Finding::Layer));
    found.extend(recorded.difference(&layers).copied().map(Finding::MissingLayer));
    Ok(found)
}

async fn is_gone(context: &Context, id: &SandboxId) -> Result<bool, StoreError> {
    Ok(context.facts.sandbox(id).await?.is_none_or(|row| is_killed(&row.state)))
}

const fn is_killed(state: &State) -> bool {
    matches!(state, State::Killed { .. })
}

/// Puts a disagreement right; `false` if nothing can.
async fn settle(context: &Context, finding: &Finding) -> Result<bool, EngineError> {
    match finding {
        Finding::Unowned(id) => context.engine.kill(id).await.map(|_| true),
        Finding::Vanished(id) => {
            if let Some(handle) = context.registry.any(id) {
                // An exit the engine reported stays: it says more.
                handle.exit.send_if_modified(|exit| {
                    let is_news = exit.is_none();
                    exit.get_or_insert_with(|| Exit::of_cause(Cause::Vanished));
                    is_news
                });
            }
            Ok(true)
        }
        Finding::Stray(stray) => context.engine.remove(stray).await.map(|()| true),
        Finding::Layer(build) => context.engine.remove_layer(*build).await.map(|()| true),
        Finding::MissingLayer(_) => Ok(false),
    }
}
