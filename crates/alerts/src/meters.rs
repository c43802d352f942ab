//! Rules over what a team has used, over how deliveries to its webhooks are going, and over the host.

use std::collections::HashMap;
use std::sync::Arc;

use sandscope_model::{
    AlertChange, AlertMetric, AlertSource, AlertWatch, Subject, SubjectKey, TeamId, Timestamp,
};
use sandscope_store::{Standing, StoreError};

use crate::publisher::{Firing, Publisher};
use crate::rulebook::{Rule, Rulebook};
use crate::usage::UsageMeter;

#[derive(Default)]
pub(crate) struct Meters {
    watches: HashMap<(TeamId, u64, SubjectKey), AlertWatch>,
    usage: HashMap<TeamId, UsageMeter>,
}

impl Meters {
    /// Goes on with what fires; watches of rules that hold no more are forgotten.
    pub(crate) fn take_up(&mut self, team: TeamId, rulebook: &Rulebook, firing: &Firing) {
        let slots = rulebook.slots();
        self.watches.retain(|(_, slot, _), _| slots.contains(slot));
        let rules = rulebook
            .of(team, AlertSource::Usage)
            .chain(rulebook.of(team, AlertSource::Webhooks))
            .chain(rulebook.of(team, AlertSource::Host))
            .map(|rule| rule.slot);
        for slot in rules {
            for (_, subject) in firing.iter().filter(|(firing, _)| *firing == slot) {
                let key = (team, slot, subject.clone());
                let watch = self.watches.entry(key).or_insert_with(AlertWatch::firing);
                if !watch.is_firing() {
                    *watch = AlertWatch::firing();
                }
            }
        }
    }

    pub(crate) async fn round(
        &mut self,
        publisher: &Publisher,
        rulebook: &Rulebook,
    ) -> Result<(), StoreError> {
        for team in rulebook.teams() {
            self.usage(publisher, rulebook, team).await?;
            self.webhooks(publisher, rulebook, team).await?;
            self.host(publisher, rulebook, team).await?;
        }
        Ok(())
    }

    async fn usage(
        &mut self,
        publisher: &Publisher,
        rulebook: &Rulebook,
        team: TeamId,
    ) -> Result<(), StoreError> {
        let rules: Vec<_> = rulebook.of(team, AlertSource::Usage).cloned().collect();
        let Some(longest_s) = rules.iter().map(|rule| rule.rule.within_s).max() else {
            self.usage.remove(&team);
            return Ok(());
        };
        let now = publisher.now();
        let meter = self.usage.entry(team).or_default();
        let open = meter.read(&publisher.options.events, team, longest_s, now).await?;
        let numbers: Vec<_> = rules
            .into_iter()
            .map(|rule| {
                let usage = meter.sum(&open, rule.rule.within_s, publisher.options.clock.stamp());
                let value = match (rule.rule.metric, &publisher.options.prices) {
                    (AlertMetric::Cost, Some(prices)) => prices.cost(&usage).as_f64(),
                    (AlertMetric::Cost, None) => 0.0,
                    _ => hours(usage.vcpu_ms),
                };
                (rule, value)
            })
            .collect();
        for (rule, value) in numbers {
            self.see(publisher, team, &rule, Subject::Team, value, now).await?;
        }
        Ok(())
    }

    async fn webhooks(
        &mut self,
        publisher: &Publisher,
        rulebook: &Rulebook,
        team: TeamId,
    ) -> Result<(), StoreError> {
        let rules: Vec<_> = rulebook.of(team, AlertSource::Webhooks).cloned().collect();
        if rules.is_empty() {
            return Ok(());
        }
        let (options, now) = (&publisher.options, publisher.now());
        let webhooks = options.deliveries.webhooks(team).await?;
        for webhook in &webhooks {
            let Some(standing) = options.deliveries.webhook_standing(webhook.id).await? else { continue };
            for rule in &rules {
                let value = value(rule.rule.metric, &standing, webhook.enabled, now);
                self.see(publisher, team, rule, Subject::Webhook(webhook.id), value, now).await?;
            }
        }
        let is_gone = |subject: &SubjectKey| match subject {
            SubjectKey::Webhook(id) => webhooks.iter().all(|webhook| webhook.id != *id),
            _ => false,
        };
        let gone: Vec<_> =
            self.watches.keys().filter(|(of, _, subject)| *of == team && is_gone(subject)).cloned().collect();
        for key in gone {
            if let Some(rule) = rules.iter().find(|rule| rule.slot == key.1) {
                let decision = publisher.resolve(rule.key(key.2.clone()), None, Some("the webhook is gone"));
                publisher.publish(team, vec![decision], None).await?;
            }
            self.watches.remove(&key);
        }
        Ok(())
    }

    async fn host(
        &mut self,
        publisher: &Publisher,
        rulebook: &Rulebook,
        team: TeamId,
    ) -> Result<(), StoreError> {
        let rules: Vec<_> = rulebook.of(team, AlertSource::Host).cloned().collect();
        let value = if (publisher.options.host_disk_is_short)() { 1.0 } else { 0.0 };
        for rule in rules {
            self.see(publisher, team, &rule, Subject::Team, value, publisher.now()).await?;
        }
        Ok(())
    }

    async fn see(
        &mut self,
        publisher: &Publisher,
        team: TeamId,
        rule: &Arc<Rule>,
        subject: Subject,
        value: f64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        publisher.options.stats.evaluated(1);
        let watch = self.watches.entry((team, rule.slot, subject.key())).or_default();
        let before = watch.clone();
        let decision = match watch.see(&rule.rule, value, publisher.line.now()) {
            None => return Ok(()),
            Some(AlertChange::Firing) => publisher.fire(team, rule, (subject, None), value, now),
            Some(AlertChange::Resolved) => publisher.resolve(rule.key(subject.key()), Some(value), None),
        };
        let published = publisher.publish(team, vec![decision], None).await;
        if published.is_err() {
            *watch = before;
        }
        published
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds and events are far below 2^53")]
fn value(metric: AlertMetric, standing: &Standing, enabled: bool, now: Timestamp) -> f64 {
    // One that the server has disabled fails on; one that its owner has disabled does not.
    let counts = enabled || standing.health.disabled_reason.is_some();
    match metric {
        AlertMetric::WebhookFailingS if counts => standing
            .health
            .failing_since
            .map_or(0.0, |since| now.as_second().saturating_sub(since.as_second()).max(0) as f64),
        AlertMetric::WebhookBehind if enabled => {
            standing.last_sequence.saturating_sub(standing.cursor) as f64
        }
        _ => 0.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number to be held against a threshold")]
fn hours(ms: u128) -> f64 {
    ms as f64 / 3_600_000.0
}
