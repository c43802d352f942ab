//! What an event says about an alert.

use serde::{Deserialize, Serialize};

use super::{AlertMetric, AlertRule, AlertSubject};
use crate::AlertRuleId;

/// What an event says about an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertNotice {
    /// The rule's name.
    pub rule: String,
    /// The rule's id, if a team made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<AlertRuleId>,
    /// What it is about; unknown only for what versions before wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<AlertSubject>,
    /// What it looks at.
    pub metric: AlertMetric,
    /// Where it fires, in thousandths.
    pub threshold_milli: i64,
    /// Seconds over which it counts, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_s: Option<u32>,
    /// The number that decided it, where one did, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_milli: Option<i64>,
    /// Why it resolved, where no number did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl AlertNotice {
    /// That `rule` fires for `subject` at `value`.
    pub fn new(rule: &AlertRule, rule_id: Option<AlertRuleId>, subject: AlertSubject, value: f64) -> Self {
        Self {
            rule: rule.name.clone(),
            rule_id,
            subject: Some(subject),
            metric: rule.metric,
            threshold_milli: milli(rule.threshold),
            within_s: (rule.within_s > 0).then_some(rule.within_s),
            value_milli: Some(milli(value)),
            reason: None,
        }
    }
}

/// Thousandths of a number, as notices keep them.
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no number gives 0")]
pub fn milli(number: f64) -> i64 {
    (number * 1000.0).round() as i64
}
