//! What an event says about an alert.

use super::{AlertMetric, AlertRule};
use crate::{AlertRuleId, SandboxRef};

/// What an event says about an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertNotice {
    /// The rule's name.
    pub rule: String,
    /// The rule's id, if a team made it.
    pub rule_id: Option<AlertRuleId>,
    /// What it looks at.
    pub metric: AlertMetric,
    /// Where it fires, in thousandths.
    pub threshold_milli: i64,
    /// Seconds over which it counts, if it does.
    pub within_s: Option<u32>,
    /// The number that decided it, where one did, in thousandths.
    pub value_milli: Option<i64>,
    /// Why it resolved, where no number did.
    pub reason: Option<String>,
    /// The sandbox of the event that decided it, if one did and it is not about that sandbox itself.
    pub sandbox: Option<SandboxRef>,
}

impl AlertNotice {
    /// That `rule` fires at `value`.
    pub fn new(rule: &AlertRule, rule_id: Option<AlertRuleId>, value: f64) -> Self {
        Self {
            rule: rule.name.clone(),
            rule_id,
            metric: rule.metric,
            threshold_milli: milli(rule.threshold),
            within_s: (rule.within_s > 0).then_some(rule.within_s),
            value_milli: Some(milli(value)),
            reason: None,
            sandbox: None,
        }
    }
}

/// Thousandths of a number, as notices keep them.
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no number gives 0")]
pub fn milli(number: f64) -> i64 {
    (number * 1000.0).round() as i64
}
