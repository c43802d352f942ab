//! Alerts: rules, the operator's and each team's own, over what is known of a team.
//!
//! ```text
//!   Live ── every second ──┬► seconds: a watch per rule and sandbox      (samples)
//!                          ├► log: windows over the events, by a cursor  (crashes, out of memory)
//!                          └► meters: every ten seconds                  (usage, webhooks)
//!                                   │ fires, resolves
//!                                   ▼
//!            Store::tell_alerts: row, event and cursor in one transaction
//! ```
//!
//! Ownership: one task owns everything here. What fires is a row of the store, and how far the log has been looked at
//! is one, too: a server killed at any moment goes on where it was, and each alert is told once. Windows and sums are
//! derived from the log again, and what was pending from the samples that were stored.
//!
//! Rules are read again as soon as one is made, changed or deleted. What a changed rule had fired is resolved by
//! whoever changes it, in the same transaction; what was decided by an older revision does not count.
//!
//! Failure: what cannot be stored is decided anew in the next second. An alert of a sandbox that has ended resolves.
//! Seconds the task missed are a gap, which proves nothing; events are never missed, for they stand in the log.

mod log;
mod meters;
mod rulebook;
mod seconds;
mod stats;
mod telling;
mod usage;
mod windows;

use std::sync::Arc;

use sandscope_model::{AlertRule, Clock, Entropy, Prices};
use sandscope_store::{Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{Live, LiveRound};
use log::Log;
use meters::Meters;
use rulebook::Rulebook;
use seconds::Seconds;
pub use stats::{AlertCounts, AlertStats};
use telling::Telling;

/// Rounds between two looks for alerts of sandboxes that are gone.
const SWEEP: u64 = 15;
/// Rounds between two looks at usage and webhooks.
const METER: u64 = 10;

/// What alerts are made of.
#[derive(Clone)]
pub struct AlertOptions {
    /// The operator's rules, which hold for every team.
    pub rules: Vec<AlertRule>,
    /// What usage costs, if the operator set prices.
    pub prices: Option<Prices>,
    /// Where what fires is kept, rules are found, and events go.
    pub store: Store,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where events' ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// Whose seconds are watched.
    pub live: Live,
    /// Where it is counted what was done.
    pub stats: Arc<AlertStats>,
}

impl std::fmt::Debug for AlertOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertOptions").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Watches until it is stopped.
pub(crate) async fn run(options: AlertOptions, stop: CancellationToken) {
    let mut rounds = options.live.listen();
    let mut changes = options.store.subscribe_alert_rules();
    changes.mark_changed();
    let mut alerts = Alerts::new(options);
    let mut n_rounds = 0_u64;
    loop {
        let round = tokio::select! {
            () = stop.cancelled() => return,
            round = rounds.recv() => round,
        };
        let round = match round {
            Ok(round) => round,
            Err(RecvError::Lagged(n)) => {
                tracing::debug!(n, "alerts missed seconds");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        if changes.has_changed().unwrap_or(false) {
            // Marked as seen before it is read: what changes meanwhile is read once more.
            changes.mark_unchanged();
            if let Err(error) = alerts.read_rules().await {
                tracing::warn!(%error, "rules of alerts cannot be read; the next second tries again");
                changes.mark_changed();
            }
        }
        if let Err(error) = alerts.round(&round, n_rounds).await {
            alerts.telling.options.stats.failed();
            tracing::warn!(%error, "alerts cannot be decided; the next second tries again");
        }
        n_rounds += 1;
    }
}

struct Alerts {
    telling: Telling,
    rulebook: Rulebook,
    seconds: Seconds,
    log: Log,
    meters: Meters,
}

impl Alerts {
    fn new(options: AlertOptions) -> Self {
        Self {
            rulebook: Rulebook::new(options.rules.clone()),
            telling: Telling { options },
            seconds: Seconds::default(),
            log: Log::default(),
            meters: Meters::default(),
        }
    }

    /// Takes up the rules as they are now, and what fires by them.
    async fn read_rules(&mut self) -> Result<(), StoreError> {
        let store = &self.telling.options.store;
        let teams: Vec<_> = store.teams().await?.into_iter().map(|team| team.id).collect();
        let own = store.alert_rules(None).await?;
        self.rulebook.take(&teams, own);
        for team in teams {
            let firing = self.telling.firing(team, &self.rulebook).await?;
            self.seconds.take_up(team, &self.rulebook, &firing);
            self.log.take_up(team, &self.rulebook, &firing);
            self.meters.take_up(team, &self.rulebook, &firing);
        }
        Ok(())
    }

    async fn round(&mut self, round: &LiveRound, n: u64) -> Result<(), StoreError> {
        let may_have_more_teams = self.rulebook.teams().is_empty() || n.is_multiple_of(METER);
        if may_have_more_teams
            && self.telling.options.store.teams().await?.len() != self.rulebook.teams().len()
        {
            self.read_rules().await?;
        }
        self.seconds.round(&self.telling, &self.rulebook, round).await;
        self.log.round(&self.telling, &self.rulebook).await?;
        if n.is_multiple_of(METER) {
            self.meters.round(&self.telling, &self.rulebook).await?;
        }
        if n % SWEEP == SWEEP - 1 {
            self.seconds.sweep(&self.telling, &self.rulebook).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "alerts/alerts_tests.rs"]
mod tests;
