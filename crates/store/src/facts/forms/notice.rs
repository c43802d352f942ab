//! What events say about webhooks and alerts, as stored. The sandboxes that such notices name are in the event's columns.

use sandscope_model::{
    AlertMetric, AlertNotice, AlertRuleId, EventId, SandboxRef, SubjectKey, Timestamp, WebhookId,
    WebhookNotice,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WebhookForm {
    id: WebhookId,
    name: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    n_failed: u32,
    event_id: EventId,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AlertForm {
    rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule_id: Option<AlertRuleId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<SubjectKey>,
    metric: AlertMetric,
    threshold_milli: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_milli: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl WebhookForm {
    pub(super) fn of(notice: &WebhookNotice) -> Self {
        let WebhookNotice { id, name, reason, failing_since, n_failed, event_id, sandbox: _ } = notice;
        Self {
            id: *id,
            name: name.clone(),
            reason: reason.clone(),
            failing_since: *failing_since,
            n_failed: *n_failed,
            event_id: *event_id,
        }
    }

    pub(super) fn into_notice(self, sandbox: Option<SandboxRef>) -> WebhookNotice {
        let Self { id, name, reason, failing_since, n_failed, event_id } = self;
        WebhookNotice { id, name, reason, failing_since, n_failed, event_id, sandbox }
    }
}

impl AlertForm {
    pub(super) fn of(notice: &AlertNotice, subject: SubjectKey) -> Self {
        let AlertNotice { rule, rule_id, metric, threshold_milli, within_s, value_milli, reason, sandbox: _ } =
            notice;
        Self {
            rule: rule.clone(),
            rule_id: *rule_id,
            subject: Some(subject),
            metric: *metric,
            threshold_milli: *threshold_milli,
            within_s: *within_s,
            value_milli: *value_milli,
            reason: reason.clone(),
        }
    }

    pub(super) fn into_notice(self, sandbox: Option<SandboxRef>) -> AlertNotice {
        let Self { rule, rule_id, subject: _, metric, threshold_milli, within_s, value_milli, reason } = self;
        AlertNotice { rule, rule_id, metric, threshold_milli, within_s, value_milli, reason, sandbox }
    }
}
