//! Made-up events: what a delivery looks like, for those who want to try one, and for tests.

use crate::{
    AlertChange, AlertMetric, AlertNotice, Death, EventDraft, EventId, EventType, ExecutionSummary, Fact,
    KillReason, OomKills, SandboxRef, Subject, TeamId, Timestamp, Update, WebhookChange, WebhookNotice,
};

impl EventDraft {
    /// An event of a kind that never happened, at `at`: about `sandbox`, or naming it where the kind is about something
    /// else.
    pub fn example(
        kind: EventType,
        (id, team_id): (EventId, TeamId),
        sandbox: SandboxRef,
        at: Timestamp,
    ) -> Self {
        let named = Some(sandbox.without_labels());
        let webhook = |change| {
            let id = uuid::Uuid::nil().into();
            let notice = WebhookNotice {
                id,
                name: "example".to_owned(),
                reason: "an example".to_owned(),
                failing_since: None,
                n_failed: 0,
                event_id: uuid::Uuid::nil().into(),
                sandbox: named.clone(),
            };
            (Subject::Webhook(id), Fact::Webhook { change, notice: Box::new(notice) })
        };
        let alert = |change| {
            let notice = AlertNotice {
                rule: "example".to_owned(),
                rule_id: None,
                metric: AlertMetric::Crashes,
                threshold_milli: 3_000,
                within_s: Some(600),
                value_milli: Some(3_000),
                reason: None,
                sandbox: named.clone(),
            };
            (Subject::Team, Fact::Alert { change, notice: Box::new(notice) })
        };
        let execution =
            || ExecutionSummary { started_at: at, vcpu_count: 1, memory_mb: 1, execution_time_ms: 0 };
        let snapshot = sandbox.template_id.clone();
        let subject = Subject::Sandbox(sandbox);
        let (subject, fact) = match kind {
            EventType::WebhookLagging => webhook(WebhookChange::Lagging),
            EventType::WebhookDisabled => webhook(WebhookChange::Disabled),
            EventType::WebhookRecovered => webhook(WebhookChange::Recovered),
            EventType::WebhookExhausted => webhook(WebhookChange::Exhausted),
            EventType::AlertFiring => alert(AlertChange::Firing),
            EventType::AlertResolved => alert(AlertChange::Resolved),
            EventType::Created => (subject, Fact::Created),
            EventType::Killed => {
                let death = Death { execution: Some(execution()), ..Death::of(KillReason::Request) };
                (subject, Fact::Killed(death))
            }
            EventType::Updated => (subject, Fact::Updated(Update::TimeoutMoved { end_at: at })),
            EventType::Paused => (subject, Fact::Paused { execution: execution() }),
            EventType::Resumed => (subject, Fact::Resumed),
            EventType::Checkpointed => (subject, Fact::Checkpointed { snapshot }),
            EventType::OutOfMemory => (subject, Fact::OutOfMemory(OomKills { n_new: 1, n_total: 1 })),
        };
        Self { id, team_id, timestamp: at, subject, origin: None, fact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_example_of_every_kind() {
        let uuid = uuid::Uuid::nil();
        let sandbox = SandboxRef {
            id: "i0123456789abcdefghij".parse().unwrap(),
            execution_id: uuid.into(),
            template_id: "rki5dems9wqfm4r03t7g".parse().unwrap(),
            build_id: uuid.into(),
            metadata: [].into(),
        };
        for kind in EventType::ALL {
            let ids = (uuid.into(), uuid.into());
            let example = EventDraft::example(kind, ids, sandbox.clone(), Timestamp::UNIX_EPOCH);
            assert_eq!(example.sandbox(), Some(&sandbox));
            assert_eq!(example.event_type(), kind);
        }
    }
}
