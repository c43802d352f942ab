//! Alerts over the live seconds.
//!
//! ```text
//!   Live ── every second ──► AlertWatch per rule and sandbox (pure, in `model`)
//!                                 │ fires, resolves
//!                                 ▼
//!                      Store::fire_alert, resolve_alert: row and event in one transaction
//! ```
//!
//! Ownership: one task owns the watches. What fires is a row of the store: a restart takes it up where it was, and it
//! is told once. What is pending is not kept: its time starts over.
//!
//! Failure: an event that cannot be stored is tried again with the sandbox's next second. An alert of a sandbox that
//! has ended resolves. Seconds the task missed are a gap, which proves nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sandscope_model::{
    AlertChange, AlertMetric, AlertNotice, AlertRule, AlertWatch, Clock, Component, Entropy, EventData,
    EventDraft, EventId, EventType, Origin, Sandbox, SandboxId, State, Timestamp, milli,
};
use sandscope_store::{FiringAlert, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{Live, LivePoint};

/// Rounds between two looks for alerts of sandboxes that are gone.
const SWEEP: u64 = 15;

/// What alerts are made of.
#[derive(Clone)]
pub struct AlertOptions {
    /// When to fire; empty: never.
    pub rules: Vec<AlertRule>,
    /// Where what fires is kept, and events go.
    pub store: Store,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where events' ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// Whose seconds are watched.
    pub live: Live,
}

impl std::fmt::Debug for AlertOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertOptions").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Watches until it is stopped.
pub(crate) async fn run(options: AlertOptions, stop: CancellationToken) {
    let mut rounds = options.live.listen();
    let mut alerts = Alerts { options, watches: HashMap::new() };
    if let Err(error) = alerts.take_up().await {
        tracing::warn!(%error, "the alerts that were firing cannot be read; they may be told again");
    }
    let mut n_rounds = 0_u64;
    loop {
        let round = tokio::select! {
            () = stop.cancelled() => return,
            round = rounds.recv() => round,
        };
        match round {
            Ok(round) => {
                for point in &round.points {
                    alerts.see(point).await;
                }
                n_rounds += 1;
                if n_rounds.is_multiple_of(SWEEP) {
                    alerts.sweep().await;
                }
            }
            Err(RecvError::Lagged(n)) => tracing::debug!(n, "alerts missed seconds"),
            Err(RecvError::Closed) => return,
        }
    }
}

struct Alerts {
    options: AlertOptions,
    watches: HashMap<(SandboxId, usize), AlertWatch>,
}

impl Alerts {
    /// Goes on with what was firing when the server stopped.
    async fn take_up(&mut self) -> Result<(), StoreError> {
        for alert in self.options.store.firing_alerts(None).await? {
            let rule = self.options.rules.iter().position(|rule| rule.name == alert.rule);
            match rule {
                Some(rule) => {
                    self.watches.insert((alert.sandbox_id, rule), AlertWatch::firing());
                }
                // Nobody watches it any more.
                None => self.resolve(&alert, "the rule is gone").await,
            }
        }
        Ok(())
    }

    async fn see(&mut self, point: &LivePoint) {
        let id = &point.sample.sandbox_id;
        for index in 0..self.options.rules.len() {
            let rule = self.options.rules[index].clone();
            let value = value(rule.metric, point);
            let watch = self.watches.entry((id.clone(), index)).or_default();
            let before = watch.clone();
            let Some(change) = watch.see(&rule, value, point.sample.at) else { continue };
            if let Err(error) = self.tell(point, &rule, value, change).await {
                tracing::warn!(sandbox_id = %id, rule = rule.name, %error, "an alert cannot be told yet");
                self.watches.insert((id.clone(), index), before);
            }
        }
    }

    async fn tell(
        &self,
        point: &LivePoint,
        rule: &AlertRule,
        value: f64,
        change: AlertChange,
    ) -> Result<(), StoreError> {
        let Some(sandbox) = self.options.store.sandbox(&point.sample.sandbox_id).await? else {
            return Ok(());
        };
        let notice = AlertNotice {
            rule: rule.name.clone(),
            metric: rule.metric,
            threshold_milli: milli(rule.threshold),
            value_milli: Some(milli(value)),
            reason: None,
        };
        let at = point.sample.at;
        match change {
            AlertChange::Firing => {
                let draft = self.draft(&sandbox, EventType::AlertFiring, notice, at);
                let alert = FiringAlert {
                    sandbox_id: sandbox.id.clone(),
                    team_id: sandbox.team_id,
                    rule: rule.name.clone(),
                    since: at,
                };
                self.options.store.fire_alert(alert, draft).await?;
            }
            AlertChange::Resolved => {
                let draft = self.draft(&sandbox, EventType::AlertResolved, notice, at);
                self.options.store.resolve_alert(&rule.name, draft).await?;
            }
        }
        Ok(())
    }

    /// Resolves what fires for sandboxes that have ended, and forgets what they were watched with.
    async fn sweep(&mut self) {
        let firing = match self.options.store.firing_alerts(None).await {
            Ok(firing) => firing,
            Err(error) => {
                tracing::warn!(%error, "the alerts that fire cannot be read");
                return;
            }
        };
        for alert in firing {
            let ended = match self.options.store.sandbox(&alert.sandbox_id).await {
                Ok(sandbox) => sandbox.is_none_or(|sandbox| matches!(sandbox.state, State::Killed { .. })),
                Err(_) => false,
            };
            if ended {
                self.resolve(&alert, "the sandbox has ended").await;
            }
        }
        let now = self.options.clock.now();
        let lately: HashSet<SandboxId> =
            self.options.live.newest(now, 600).into_iter().map(|point| point.sample.sandbox_id).collect();
        self.watches.retain(|(id, _), watch| watch.is_firing() || lately.contains(id));
    }

    async fn resolve(&self, alert: &FiringAlert, reason: &str) {
        let rule = self.options.rules.iter().find(|rule| rule.name == alert.rule);
        let outcome = async {
            let Some(sandbox) = self.options.store.sandbox(&alert.sandbox_id).await? else { return Ok(()) };
            let notice = AlertNotice {
                rule: alert.rule.clone(),
                metric: rule.map_or(AlertMetric::CpuPct, |rule| rule.metric),
                threshold_milli: rule.map_or(0, |rule| milli(rule.threshold)),
                value_milli: None,
                reason: Some(reason.to_owned()),
            };
            let at = self.options.clock.now();
            let draft = self.draft(&sandbox, EventType::AlertResolved, notice, at);
            self.options.store.resolve_alert(&alert.rule, draft).await.map(drop)
        };
        if let Err(error) = outcome.await {
            tracing::warn!(sandbox_id = %alert.sandbox_id, %error, "an alert cannot be resolved yet");
        }
    }

    fn draft(
        &self,
        sandbox: &Sandbox,
        event_type: EventType,
        notice: AlertNotice,
        timestamp: Timestamp,
    ) -> EventDraft {
        EventDraft {
            id: EventId::generate(&*self.options.entropy),
            event_type,
            data: EventData {
                sandbox_metadata: sandbox.spec.metadata.clone(),
                origin: Some(Origin::system(Component::Server)),
                alert: Some(notice),
                ..EventData::default()
            },
            sandbox_id: sandbox.id.clone(),
            execution_id: sandbox.state.execution_id(),
            template_id: sandbox.spec.template_id.clone(),
            build_id: sandbox.spec.build_id,
            team_id: sandbox.team_id,
            timestamp,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shares and small counts")]
fn value(metric: AlertMetric, point: &LivePoint) -> f64 {
    let share = |part: u64, whole: u64| part as f64 / (whole.max(1)) as f64 * 100.0;
    let sample = &point.sample;
    match metric {
        AlertMetric::CpuPct => sample.cpu_used_pct,
        AlertMetric::MemPct => share(sample.mem_used_bytes, sample.mem_total_bytes),
        AlertMetric::DiskPct => share(sample.disk_used_bytes, sample.disk_total_bytes),
        AlertMetric::Processes => point.n_pids as f64,
        AlertMetric::OomKills => point.n_oom_kills as f64,
    }
}
