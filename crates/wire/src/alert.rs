//! Rules of alerts as asked for and answered, and alerts as answered.

use sandscope_model::{
    AlertGiven, AlertNotice, AlertRule, AlertRuleId, AlertSide, SubjectKey, TeamAlertRule, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::to_second;

/// The rules that hold for the team, and what fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    /// The rules: the operator's, then the team's own.
    pub rules: Vec<AlertRuleView>,
    /// What fires, the oldest first.
    pub firing: Vec<FiringAlertView>,
    /// Whether more fires than is listed.
    #[serde(default)]
    pub has_more: bool,
}

/// When an alert fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRuleView {
    /// Its id; none if it is the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub id: Option<AlertRuleId>,
    /// Whose it is: `team`, or `operator`, who alone changes it.
    pub source: String,
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub metric: String,
    /// Fires at this value or above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Fires at this value or below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// Resolves beyond this value.
    pub clear: f64,
    /// Seconds for which either must last.
    pub for_seconds: u32,
    /// Seconds over which is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_seconds: Option<u32>,
    /// What has a number of its own: `sandbox`, `template`, `metadata.<key>`, `team` or `webhook`.
    pub by: String,
    /// When it was made, if it is the team's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
}

/// A rule to be made, or what is to be changed of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRuleBody {
    /// Its name, 1 to 64 bytes long; another than those of the other rules that hold for the team.
    pub name: Option<String>,
    /// What it looks at. Each second of a running sandbox: `cpuPct`, `memPct`, `diskPct`, `processes`, `oomKills`. Counted
    /// over `withinSeconds`: `outOfMemory`, `crashes`, `vcpuHours`, `cost`. Of webhooks: `webhookFailingS`,
    /// `webhookBehind`.
    pub metric: Option<String>,
    /// Fires at this value or above. Either this or `below`.
    pub above: Option<f64>,
    /// Fires at this value or below.
    pub below: Option<f64>,
    /// Resolves beyond this value. Default: the threshold.
    pub clear: Option<f64>,
    /// Seconds for which either must last. Default 0.
    pub for_seconds: Option<u32>,
    /// Seconds over which is counted, where something is. Default: 600 for events, a day for usage.
    pub within_seconds: Option<u32>,
    /// What has a number of its own: `sandbox`, `template`, `metadata.<key>`, `team` or `webhook`. The default depends on
    /// the metric.
    pub by: Option<String>,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FiringAlertView {
    /// Of which sandbox, if it is about one.
    #[serde(rename = "sandboxID", default, skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// What it is about: `sandbox:<id>`, `template:<id>`, `metadata.<key>=<value>`, `team` or `webhook:<id>`.
    pub subject: String,
    /// The rule's name.
    pub rule: String,
    /// The rule's id, if it is the team's.
    #[serde(rename = "ruleID", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub rule_id: Option<AlertRuleId>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The number at which it began to fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl From<&AlertRule> for AlertRuleView {
    /// As the operator's.
    fn from(rule: &AlertRule) -> Self {
        let of = |side| (rule.side == side).then_some(rule.threshold);
        Self {
            id: None,
            source: "operator".to_owned(),
            name: rule.name.clone(),
            metric: rule.metric.as_str().to_owned(),
            above: of(AlertSide::Above),
            below: of(AlertSide::Below),
            clear: rule.clear,
            for_seconds: rule.for_s,
            within_seconds: (rule.within_s > 0).then_some(rule.within_s),
            by: rule.by.to_string(),
            created_at: None,
        }
    }
}

impl From<&TeamAlertRule> for AlertRuleView {
    fn from(own: &TeamAlertRule) -> Self {
        Self {
            id: Some(own.id),
            source: "team".to_owned(),
            created_at: Some(to_second(own.created_at)),
            ..Self::from(&own.rule)
        }
    }
}

impl AlertRuleBody {
    /// As a rule to be made.
    pub fn into_given(self) -> AlertGiven {
        AlertGiven {
            name: self.name.unwrap_or_default(),
            metric: self.metric.unwrap_or_default(),
            above: self.above,
            below: self.below,
            clear: self.clear,
            for_s: self.for_seconds,
            within_s: self.within_seconds,
            by: self.by,
        }
    }

    /// `rule` with what is given changed. Another metric or threshold takes its own defaults along.
    pub fn change(self, rule: &AlertRule) -> AlertGiven {
        let old = AlertGiven::from(rule);
        let old = match &self.metric {
            Some(metric) if *metric != old.metric => {
                AlertGiven { for_s: None, within_s: None, by: None, ..old }
            }
            _ => old,
        };
        let old = if self.above.is_some() || self.below.is_some() {
            AlertGiven { above: None, below: None, clear: None, ..old }
        } else {
            old
        };
        AlertGiven {
            name: self.name.unwrap_or(old.name),
            metric: self.metric.unwrap_or(old.metric),
            above: self.above.or(old.above),
            below: self.below.or(old.below),
            clear: self.clear.or(old.clear),
            for_s: self.for_seconds.or(old.for_s),
            within_s: self.within_seconds.or(old.within_s),
            by: self.by.or(old.by),
        }
    }
}

impl FiringAlertView {
    /// An alert that fires, with the notice of it.
    pub fn new(subject: &SubjectKey, rule: &str, since: Timestamp, notice: Option<&AlertNotice>) -> Self {
        let sandbox_id = match subject {
            SubjectKey::Sandbox(id) => Some(id.to_string()),
            _ => None,
        };
        Self {
            sandbox_id,
            subject: subject.to_string(),
            rule: rule.to_owned(),
            rule_id: notice.and_then(|notice| notice.rule_id),
            since: to_second(since),
            value: notice.and_then(|notice| notice.value_milli).map(number),
        }
    }
}

/// A number kept in thousandths.
#[expect(clippy::cast_precision_loss, reason = "numbers of alerts are far from 2^53")]
pub(crate) fn number(milli: i64) -> f64 {
    milli as f64 / 1000.0
}
