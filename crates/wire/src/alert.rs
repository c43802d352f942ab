//! Alerts as answered.

use sandscope_model::{AlertRule, AlertSide, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::to_second;

/// The rules of this server, and which of them fire for the team's sandboxes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alerts {
    /// The rules; they are the operator's.
    pub rules: Vec<AlertRuleView>,
    /// What fires, the oldest first.
    pub firing: Vec<FiringAlertView>,
}

/// When an alert fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRuleView {
    /// Its name.
    pub name: String,
    /// What it looks at: `cpuPct`, `memPct`, `diskPct`, `processes` or `oomKills`.
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
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FiringAlertView {
    /// Of which sandbox.
    #[serde(rename = "sandboxID")]
    pub sandbox_id: String,
    /// The rule's name.
    pub rule: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl From<&AlertRule> for AlertRuleView {
    fn from(rule: &AlertRule) -> Self {
        let of = |side| (rule.side == side).then_some(rule.threshold);
        Self {
            name: rule.name.clone(),
            metric: rule.metric.as_str().to_owned(),
            above: of(AlertSide::Above),
            below: of(AlertSide::Below),
            clear: rule.clear,
            for_seconds: rule.for_s,
        }
    }
}

impl FiringAlertView {
    /// An alert of `sandbox_id` that fires.
    pub fn new(sandbox_id: &str, rule: &str, since: Timestamp) -> Self {
        Self { sandbox_id: sandbox_id.to_owned(), rule: rule.to_owned(), since: to_second(since) }
    }
}
