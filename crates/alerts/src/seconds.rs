//! Rules over the live seconds of running sandboxes.
//!
//! What was pending when the server ended is found again in the samples it stored: a value that must last for an hour
//! does not start over with every restart.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sandscope_model::{
    AlertChange, AlertMetric, AlertSource, AlertWatch, MetricField as F, Sample, SandboxId, State, Subject,
    SubjectKey, TeamId, Timestamp,
};
use sandscope_store::StoreError;

use crate::publisher::{Firing, Publisher};
use crate::rulebook::{Rule, Rulebook};
use sandscope_sampler::{LivePoint, LiveRound};

/// Rounds after the start in which what was pending is looked for: the sandboxes there are then outlived a server.
const RECALLING: u32 = 30;
/// What lasts for less, in seconds, is soon there again.
const WORTH_RECALLING_S: u32 = 10;
/// How long ago a sandbox may have run whose watches are kept.
const LATELY: std::time::Duration = std::time::Duration::from_secs(600);

#[derive(Default)]
pub(crate) struct Seconds {
    watches: HashMap<(u64, SandboxId), (TeamId, AlertWatch)>,
    n_rounds: u32,
}

impl Seconds {
    /// Goes on with what fires; watches of rules that hold no more are forgotten.
    pub(crate) fn take_up(&mut self, team: TeamId, rulebook: &Rulebook, firing: &Firing) {
        let slots = rulebook.slots();
        self.watches.retain(|(slot, _), _| slots.contains(slot));
        for rule in rulebook.of(team, AlertSource::Samples) {
            for (_, subject) in firing.iter().filter(|(slot, _)| *slot == rule.slot) {
                let SubjectKey::Sandbox(id) = subject else { continue };
                let watch = || (team, AlertWatch::firing());
                let (_, watch) = self.watches.entry((rule.slot, id.clone())).or_insert_with(watch);
                if !watch.is_firing() {
                    *watch = AlertWatch::firing();
                }
            }
        }
    }

    pub(crate) async fn round(&mut self, publisher: &Publisher, rulebook: &Rulebook, round: &LiveRound) {
        self.n_rounds = self.n_rounds.saturating_add(1);
        let mut n = 0;
        for point in &round.points {
            for rule in rulebook.of(point.team_id, AlertSource::Samples) {
                n += 1;
                self.see(publisher, rule, point, publisher.line.at(round.uptime)).await;
            }
        }
        publisher.options.stats.evaluated(n);
    }

    async fn see(&mut self, publisher: &Publisher, rule: &Arc<Rule>, point: &LivePoint, at: Timestamp) {
        let value = value(rule.rule.metric, point);
        let id = &point.sample.sandbox_id;
        if self.n_rounds <= RECALLING && !self.watches.contains_key(&(rule.slot, id.clone())) {
            let watch = recall(publisher, rule, point).await;
            self.watches.insert((rule.slot, id.clone()), (point.team_id, watch));
        }
        let key = (rule.slot, point.sample.sandbox_id.clone());
        let (_, watch) = self.watches.entry(key).or_insert_with(|| (point.team_id, AlertWatch::default()));
        let before = watch.clone();
        let Some(change) = watch.see(&rule.rule, value, at) else { return };
        if let Err(error) = publish(publisher, rule, point, value, change).await {
            tracing::warn!(rule = rule.rule.name, %error, "an alert cannot be published yet");
            publisher.options.stats.failed();
            *watch = before;
        }
    }

    /// Resolves what fires for sandboxes that have ended, and forgets what they were watched with.
    pub(crate) async fn sweep(
        &mut self,
        publisher: &Publisher,
        rulebook: &Rulebook,
    ) -> Result<(), StoreError> {
        let firing: Vec<_> = self
            .watches
            .iter()
            .filter(|(_, (_, watch))| watch.is_firing())
            .map(|((slot, id), (team, _))| (*slot, id.clone(), *team))
            .collect();
        for (slot, id, team) in firing {
            let sandbox = publisher.options.facts.sandbox(&id).await?;
            if sandbox.is_some_and(|sandbox| !matches!(sandbox.state, State::Killed { .. })) {
                continue;
            }
            if let Some(rule) = rulebook.of(team, AlertSource::Samples).find(|rule| rule.slot == slot) {
                let key = rule.key(SubjectKey::Sandbox(id.clone()));
                let decision = publisher.resolve(key, None, Some("the sandbox has ended"));
                publisher.publish(team, vec![decision], None).await?;
            }
            self.watches.remove(&(slot, id));
        }
        let newest = publisher.options.live.newest(publisher.options.clock.uptime(), LATELY);
        let lately: HashSet<SandboxId> = newest.into_iter().map(|point| point.sample.sandbox_id).collect();
        self.watches.retain(|(_, id), (_, watch)| watch.is_firing() || lately.contains(id));
        Ok(())
    }
}

/// The eye of the server before this one, as far as its stored samples show.
async fn recall(publisher: &Publisher, rule: &Arc<Rule>, point: &LivePoint) -> AlertWatch {
    let mut watch = AlertWatch::default();
    let of_sample: fn(&Sample) -> f64 = match rule.rule.metric {
        AlertMetric::CpuPct => Sample::cpu_used_pct,
        AlertMetric::MemPct => |sample| share(sample, F::MemUsed, F::MemTotal),
        AlertMetric::DiskPct => |sample| share(sample, F::DiskUsed, F::DiskTotal),
        // Not stored.
        _ => return watch,
    };
    if rule.rule.for_s < WORTH_RECALLING_S {
        return watch;
    }
    let span = std::time::Duration::from_secs(u64::from(rule.rule.for_s) + 60);
    let start = point.sample.at.checked_sub(span).ok();
    match publisher.options.samples.samples(&point.sample.sandbox_id, start, None, None).await {
        Ok(samples) => samples.iter().filter(|sample| sample.at < point.sample.at).for_each(|sample| {
            watch.look_back(&rule.rule, of_sample(sample), publisher.line.of_label(sample.at));
        }),
        Err(error) => tracing::debug!(%error, "what was pending cannot be looked up and starts over"),
    }
    watch
}

async fn publish(
    publisher: &Publisher,
    rule: &Arc<Rule>,
    point: &LivePoint,
    value: f64,
    change: AlertChange,
) -> Result<(), StoreError> {
    let id = &point.sample.sandbox_id;
    let decision = match change {
        AlertChange::Firing => {
            let Some(sandbox) = publisher.options.facts.sandbox(id).await? else { return Ok(()) };
            publisher.fire(point.team_id, rule, (Subject::of(&sandbox), None), value, point.sample.at)
        }
        AlertChange::Resolved => {
            publisher.resolve(rule.key(SubjectKey::Sandbox(id.clone())), Some(value), None)
        }
    };
    publisher.publish(point.team_id, vec![decision], None).await
}

#[expect(clippy::cast_precision_loss, reason = "only the quotient matters")]
fn share(sample: &Sample, part: F, whole: F) -> f64 {
    sample.or_zero(part) as f64 / sample.or_zero(whole).max(1) as f64 * 100.0
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn value(metric: AlertMetric, point: &LivePoint) -> f64 {
    let sample = &point.sample;
    match metric {
        AlertMetric::CpuPct => sample.cpu_used_pct(),
        AlertMetric::MemPct => share(sample, F::MemUsed, F::MemTotal),
        AlertMetric::DiskPct => share(sample, F::DiskUsed, F::DiskTotal),
        AlertMetric::Processes => sample.or_zero(F::Processes) as f64,
        AlertMetric::OomKills => sample.or_zero(F::OomKills) as f64,
        // Never asked for: they come from elsewhere.
        AlertMetric::OutOfMemory
        | AlertMetric::Crashes
        | AlertMetric::VcpuHours
        | AlertMetric::Cost
        | AlertMetric::WebhookFailingS
        | AlertMetric::WebhookBehind
        | AlertMetric::HostDiskShort => f64::NAN,
    }
}
