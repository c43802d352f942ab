//! From a decision to what is stored and published.

use std::collections::HashSet;
use std::sync::Arc;

use sandscope_model::{
    AlertChange, AlertNotice, Component, EventDraft, EventId, Fact, Origin, SandboxRef, Steady, Subject,
    SubjectKey, TeamId, Timestamp,
};
use sandscope_store::{AlertDecision, AlertKey, AlertStep, FiringAlert, StoreError};

use crate::options::AlertOptions;
use crate::rulebook::{Rule, Rulebook};

/// Alerts of a team that are taken up at most; what fires beyond them resolves by itself once it is looked at again.
const MAX_FIRING: u32 = 100_000;

/// What fires: by which rule, about what.
pub(crate) type Firing = HashSet<(u64, SubjectKey)>;

pub(crate) struct Publisher {
    pub(crate) options: AlertOptions,
    /// On it is decided what has lasted and what is lately, whatever the wall clock is set to.
    pub(crate) line: Steady,
}

impl Publisher {
    /// By the wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// What fires by rules that hold. Whatever fires by a rule that is gone, or was another, is resolved.
    pub(crate) async fn firing(&self, team: TeamId, rulebook: &Rulebook) -> Result<Firing, StoreError> {
        let (mut firing, mut gone) = (Firing::new(), Vec::new());
        for alert in self.options.alerts.firing_alerts(team, MAX_FIRING).await? {
            match rulebook.find(team, &alert.key) {
                Some(rule) if alert.rule.as_ref().is_none_or(|was| *was == rule.rule) => {
                    firing.insert((rule.slot, alert.key.subject));
                }
                Some(_) => gone.push(self.resolve(alert.key, None, Some("the rule was changed"))),
                None => gone.push(self.resolve(alert.key, None, Some("the rule is gone"))),
            }
        }
        self.publish(team, gone, None).await?;
        Ok(firing)
    }

    /// Stores and publishes `decisions`, and with them how far the log has been looked at.
    pub(crate) async fn publish(
        &self,
        team_id: TeamId,
        decisions: Vec<AlertDecision>,
        cursor: Option<u64>,
    ) -> Result<(), StoreError> {
        if decisions.is_empty() && cursor.is_none() {
            return Ok(());
        }
        let step = AlertStep { team_id, decisions, cursor };
        self.options.stats.published(self.options.alerts.publish_alerts(step).await?);
        Ok(())
    }

    /// That `rule` of the team fires for `subject`; `sandbox` is that of the event that decided it, if one did.
    pub(crate) fn fire(
        &self,
        team_id: TeamId,
        rule: &Arc<Rule>,
        (subject, sandbox): (Subject, Option<SandboxRef>),
        value: f64,
        since: Timestamp,
    ) -> AlertDecision {
        let mut notice = AlertNotice::new(&rule.rule, rule.id, value);
        notice.sandbox =
            sandbox.filter(|_| subject.sandbox().is_none()).map(|sandbox| sandbox.without_labels());
        let key = rule.key(subject.key());
        let published = EventDraft {
            id: EventId::generate(&*self.options.entropy),
            team_id,
            timestamp: since,
            subject,
            origin: Some(Origin::system(Component::Server)),
            fact: Fact::Alert { change: AlertChange::Firing, notice: Box::new(notice) },
        };
        let alert = FiringAlert { key, rule: Some(rule.rule.clone()), since, published };
        AlertDecision::Fire { alert: Box::new(alert), revision: rule.revision }
    }

    pub(crate) fn resolve(&self, key: AlertKey, value: Option<f64>, reason: Option<&str>) -> AlertDecision {
        AlertDecision::Resolve {
            key,
            event_id: EventId::generate(&*self.options.entropy),
            at: self.now(),
            value,
            reason: reason.map(ToOwned::to_owned),
        }
    }
}
