use sandscope_model::Steady;
use sandscope_sampler::LiveRound;
use sandscope_store::StoreError;
use sandscope_tasks::{Phase, Task, Tasks};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::log::Log;
use crate::meters::Meters;
use crate::options::AlertOptions;
use crate::publisher::Publisher;
use crate::rulebook::Rulebook;
use crate::seconds::Seconds;

/// Rounds between two looks for alerts of sandboxes that are gone.
const SWEEP: u64 = 15;
/// Rounds between two looks at usage and webhooks.
const METER: u64 = 10;

/// Decides alerts until `tasks` are drained. When it fails it starts over from what is stored.
pub fn start(options: AlertOptions, tasks: &Tasks) {
    let stop = tasks.stopping(Phase::Observe);
    tasks.start(Task::restart("alerts", Phase::Observe), move || run(options.clone(), stop.clone()));
}

/// Watches until it is stopped.
async fn run(options: AlertOptions, stop: CancellationToken) {
    let mut rounds = options.live.listen();
    let mut changes = options.alerts.subscribe_alert_rules();
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
            alerts.publisher.options.stats.failed();
            tracing::warn!(%error, "alerts cannot be decided; the next second tries again");
        }
        n_rounds += 1;
    }
}

struct Alerts {
    publisher: Publisher,
    rulebook: Rulebook,
    seconds: Seconds,
    log: Log,
    meters: Meters,
}

impl Alerts {
    fn new(options: AlertOptions) -> Self {
        Self {
            rulebook: Rulebook::new(options.rules.clone()),
            publisher: Publisher { line: Steady::begin(options.clock.clone()), options },
            seconds: Seconds::default(),
            log: Log::default(),
            meters: Meters::default(),
        }
    }

    /// Takes up the rules as they are now, and what fires by them.
    async fn read_rules(&mut self) -> Result<(), StoreError> {
        let options = &self.publisher.options;
        let teams: Vec<_> = options.facts.teams().await?.into_iter().map(|team| team.id).collect();
        let own = options.alerts.alert_rules(None).await?;
        self.rulebook.take(&teams, own);
        for team in teams {
            let firing = self.publisher.firing(team, &self.rulebook).await?;
            self.seconds.take_up(team, &self.rulebook, &firing);
            self.log.take_up(team, &self.rulebook, &firing);
            self.meters.take_up(team, &self.rulebook, &firing);
        }
        Ok(())
    }

    async fn round(&mut self, round: &LiveRound, n: u64) -> Result<(), StoreError> {
        let may_have_more_teams = self.rulebook.teams().is_empty() || n.is_multiple_of(METER);
        if may_have_more_teams
            && self.publisher.options.facts.teams().await?.len() != self.rulebook.teams().len()
        {
            self.read_rules().await?;
        }
        self.seconds.round(&self.publisher, &self.rulebook, round).await;
        self.log.round(&self.publisher, &self.rulebook).await?;
        if n.is_multiple_of(METER) {
            self.meters.round(&self.publisher, &self.rulebook).await?;
        }
        if n % SWEEP == SWEEP - 1 {
            self.seconds.sweep(&self.publisher, &self.rulebook).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "house_tests.rs"]
mod house;
#[cfg(test)]
#[path = "random_tests.rs"]
mod random;
#[cfg(test)]
#[path = "alerts_tests.rs"]
mod tests;
