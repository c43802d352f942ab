//! The rules that hold: the operator's for every team, and each team's own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sandscope_model::{AlertRule, AlertRuleId, AlertSource, SubjectKey, TeamAlertRule, TeamId};
use sandscope_store::AlertKey;

/// A rule as it holds. A changed one is another.
#[derive(Debug, PartialEq)]
pub(crate) struct Rule {
    /// Known by this while it holds.
    pub(crate) slot: u64,
    pub(crate) id: Option<AlertRuleId>,
    pub(crate) revision: u64,
    pub(crate) rule: AlertRule,
}

impl Rule {
    pub(crate) fn key(&self, subject: SubjectKey) -> AlertKey {
        AlertKey { rule_id: self.id, rule: self.rule.name.clone(), subject }
    }
}

#[derive(Debug)]
pub(crate) struct Rulebook {
    operators: Vec<Arc<Rule>>,
    own: HashMap<TeamId, Vec<Arc<Rule>>>,
    teams: Vec<TeamId>,
    next_slot: u64,
}

impl Rulebook {
    pub(crate) fn new(operators: Vec<AlertRule>) -> Self {
        let rule = |(slot, rule)| Arc::new(Rule { slot, id: None, revision: 0, rule });
        let operators: Vec<_> = (0..).zip(operators).map(rule).collect();
        let next_slot = u64::try_from(operators.len()).unwrap_or(u64::MAX);
        Self { operators, own: HashMap::new(), teams: Vec::new(), next_slot }
    }

    /// Takes the teams and their own rules as they are now. Those that have not changed keep their slots.
    pub(crate) fn take(&mut self, teams: &[TeamId], own: Vec<TeamAlertRule>) {
        let mut old: HashMap<_, _> = std::mem::take(&mut self.own)
            .into_values()
            .flatten()
            .map(|rule| ((rule.id, rule.revision), rule))
            .collect();
        for TeamAlertRule { id, team_id, revision, rule, .. } in own {
            let kept = old.remove(&(Some(id), revision)).unwrap_or_else(|| {
                self.next_slot += 1;
                Arc::new(Rule { slot: self.next_slot, id: Some(id), revision, rule })
            });
            self.own.entry(team_id).or_default().push(kept);
        }
        self.teams = teams.to_vec();
    }

    pub(crate) fn teams(&self) -> Vec<TeamId> {
        self.teams.clone()
    }

    /// The team's rules over numbers from `source`.
    pub(crate) fn of(&self, team: TeamId, source: AlertSource) -> impl Iterator<Item = &Arc<Rule>> {
        let own = self.own.get(&team).map(Vec::as_slice).unwrap_or_default();
        self.operators.iter().chain(own).filter(move |rule| rule.rule.metric.source() == source)
    }

    /// The rule an alert fires by, if it still holds.
    pub(crate) fn find(&self, team: TeamId, key: &AlertKey) -> Option<&Arc<Rule>> {
        let own = self.own.get(&team).map(Vec::as_slice).unwrap_or_default();
        self.operators.iter().chain(own).find(|rule| rule.id == key.rule_id && rule.rule.name == key.rule)
    }

    /// Every rule that holds for anybody.
    pub(crate) fn slots(&self) -> HashSet<u64> {
        self.operators.iter().chain(self.own.values().flatten()).map(|rule| rule.slot).collect()
    }
}
