//! How deliveries to a webhook have been going, as stored.

use std::collections::BTreeSet;

use sandscope_model::{EventType, Timestamp, WebhookChange, WebhookHealth};
use serde::{Deserialize, Serialize};

use super::kind::KindForm;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HealthForm {
    failing_since: Option<Timestamp>,
    n_failed: u32,
    /// By the kinds of the events that reported it.
    told: BTreeSet<KindForm>,
    disabled_reason: Option<String>,
}

impl HealthForm {
    pub(crate) fn of(health: &WebhookHealth) -> Self {
        let WebhookHealth { failing_since, n_failed, reported, disabled_reason } = health;
        Self {
            failing_since: *failing_since,
            n_failed: *n_failed,
            told: reported.iter().map(|change| KindForm(change.event_type())).collect(),
            disabled_reason: disabled_reason.clone(),
        }
    }

    pub(crate) fn into_health(self) -> WebhookHealth {
        let Self { failing_since, n_failed, told, disabled_reason } = self;
        let reported = told.into_iter().filter_map(|KindForm(kind)| change(kind)).collect();
        WebhookHealth { failing_since, n_failed, reported, disabled_reason }
    }
}

/// What an event of this kind reports; nothing about a webhook, if it is about something else.
fn change(kind: EventType) -> Option<WebhookChange> {
    WebhookChange::ALL.into_iter().find(|change| change.event_type() == kind)
}
