//! The data of an event: everything that has no column of its own.
//!
//! One flat object for all kinds, as version 0 had it. What belongs to which kind is decided here, in both directions:
//! a row that lacks what its kind needs is corrupt.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sandscope_model::{
    AlertChange, Death, EventDraft, EventType, Exit, Fact, KillReason, OomKills, Origin, SampleSummary,
    SandboxRef, Subject, SubjectKey, TemplateId, Timestamp, Update, WebhookChange,
};
use serde::{Deserialize, Serialize};

use super::execution::ExecutionForm;
use super::notice::{AlertForm, WebhookForm};

/// The version that is written.
pub(crate) const VERSION: u8 = 1;

/// What stands in the column.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct EventForm<'a> {
    #[serde(default, skip_serializing_if = "is_empty")]
    sandbox_metadata: Cow<'a, BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    execution: Option<ExecutionForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kill_reason: Option<KillReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit: Option<Exit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_samples: Option<SampleSummary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oom_kills: Option<OomKills>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set_timeout: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot_template_id: Option<TemplateId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    webhook: Option<WebhookForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alert: Option<AlertForm>,
}

fn is_empty(labels: &BTreeMap<String, String>) -> bool {
    labels.is_empty()
}

impl<'a> EventForm<'a> {
    pub(crate) fn of(draft: &'a EventDraft) -> Self {
        let form = Self {
            sandbox_metadata: Cow::Borrowed(draft.metadata()),
            origin: draft.origin.clone(),
            ..Self::default()
        };
        match &draft.fact {
            Fact::Created | Fact::Resumed => form,
            Fact::Killed(Death { reason, exit, execution, last_samples }) => Self {
                kill_reason: Some(*reason),
                exit: exit.clone(),
                execution: execution.as_ref().map(ExecutionForm::of),
                last_samples: *last_samples,
                ..form
            },
            Fact::Updated(Update::TimeoutMoved { end_at }) => Self { set_timeout: Some(*end_at), ..form },
            Fact::Paused { execution } => Self { execution: Some(ExecutionForm::of(execution)), ..form },
            Fact::Checkpointed { snapshot } => Self { snapshot_template_id: Some(snapshot.clone()), ..form },
            Fact::OutOfMemory(kills) => Self { oom_kills: Some(*kills), ..form },
            Fact::Webhook { notice, .. } => Self { webhook: Some(WebhookForm::of(notice)), ..form },
            Fact::Alert { notice, .. } => {
                Self { alert: Some(AlertForm::of(notice, draft.subject.key())), ..form }
            }
        }
    }

    /// By how much an event of `kind` changed the number of running sandboxes.
    pub(crate) fn concurrency_change(&self, kind: EventType) -> i32 {
        match kind {
            EventType::Created | EventType::Resumed => 1,
            _ if self.execution.is_some() => -1,
            _ => 0,
        }
    }

    /// What an event of `kind` says, whose sandbox columns hold `sandbox`; `None` if something that belongs to the kind
    /// is missing.
    pub(crate) fn into_fact(
        self,
        kind: EventType,
        sandbox: Option<SandboxRef>,
    ) -> Option<(Subject, Option<Origin>, Fact)> {
        let metadata = self.sandbox_metadata.into_owned();
        let sandbox = sandbox.map(|sandbox| SandboxRef { metadata, ..sandbox });
        let subject_of_alert = self.alert.as_ref().and_then(|alert| alert.subject.clone());
        let fact = match kind {
            EventType::Created => Fact::Created,
            EventType::Killed => Fact::Killed(Death {
                reason: self.kill_reason?,
                exit: self.exit,
                execution: self.execution.map(ExecutionForm::into_execution),
                last_samples: self.last_samples,
            }),
            EventType::Updated => Fact::Updated(Update::TimeoutMoved { end_at: self.set_timeout? }),
            EventType::Paused => Fact::Paused { execution: self.execution?.into_execution() },
            EventType::Resumed => Fact::Resumed,
            EventType::Checkpointed => Fact::Checkpointed { snapshot: self.snapshot_template_id? },
            EventType::OutOfMemory => Fact::OutOfMemory(self.oom_kills?),
            EventType::WebhookLagging => webhook(WebhookChange::Lagging, self.webhook?, &sandbox),
            EventType::WebhookDisabled => webhook(WebhookChange::Disabled, self.webhook?, &sandbox),
            EventType::WebhookRecovered => webhook(WebhookChange::Recovered, self.webhook?, &sandbox),
            EventType::WebhookExhausted => webhook(WebhookChange::Exhausted, self.webhook?, &sandbox),
            EventType::AlertFiring => alert(AlertChange::Firing, self.alert?, &sandbox),
            EventType::AlertResolved => alert(AlertChange::Resolved, self.alert?, &sandbox),
        };
        let subject = match (&fact, subject_of_alert) {
            (Fact::Webhook { notice, .. }, _) => Subject::Webhook(notice.id),
            (Fact::Alert { .. }, Some(SubjectKey::Template(id))) => Subject::Template(id),
            (Fact::Alert { .. }, Some(SubjectKey::Label(key, value))) => Subject::Label(key, value),
            (Fact::Alert { .. }, Some(SubjectKey::Team)) => Subject::Team,
            (Fact::Alert { .. }, Some(SubjectKey::Webhook(id))) => Subject::Webhook(id),
            // Before alerts named their subjects there were those about sandboxes only.
            (Fact::Alert { .. }, Some(SubjectKey::Sandbox(_)) | None)
            | (
                Fact::Created
                | Fact::Killed(_)
                | Fact::Updated(_)
                | Fact::Paused { .. }
                | Fact::Resumed
                | Fact::Checkpointed { .. }
                | Fact::OutOfMemory(_),
                _,
            ) => Subject::Sandbox(sandbox?),
        };
        Some((subject, self.origin, fact))
    }
}

fn webhook(change: WebhookChange, form: WebhookForm, sandbox: &Option<SandboxRef>) -> Fact {
    Fact::Webhook { change, notice: Box::new(form.into_notice(sandbox.clone())) }
}

fn alert(change: AlertChange, form: AlertForm, sandbox: &Option<SandboxRef>) -> Fact {
    let is_about_it = matches!(form.subject, Some(SubjectKey::Sandbox(_)) | None);
    let beside = sandbox.clone().filter(|_| !is_about_it);
    Fact::Alert { change, notice: Box::new(form.into_notice(beside)) }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
