//! The record of a transition: history, webhook queue, live stream and usage ledger are all read from it.
//!
//! An event says *what* happened ([`Fact`]), *to what* ([`Subject`]), and who caused it ([`Origin`]).

mod example;
mod fact;
mod kind;
mod types;

use std::collections::BTreeMap;

pub use fact::{Death, ExecutionSummary, Fact, Update, WebhookChange, WebhookNotice};
pub use kind::{EventClass, EventType, FIRST_NAMED_CODE, UnknownEventType, Visibility};
pub use types::EventTypes;

use crate::{
    EventId, ExecutionSummary as Summary, KillReason, Origin, Sandbox, SandboxId, SandboxRef, Subject,
    TeamId, TemplateId, Timestamp,
};

/// No labels.
static UNLABELLED: BTreeMap<String, String> = BTreeMap::new();

/// An event about to be committed; the store gives it its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// The event's id; receivers deduplicate by it.
    pub id: EventId,
    /// In which team's log.
    pub team_id: TeamId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What it is about.
    pub subject: Subject,
    /// Who caused it; unknown only for what early versions wrote.
    pub origin: Option<Origin>,
    /// What happened.
    pub fact: Fact,
}

impl EventDraft {
    /// What happened to `sandbox` at `timestamp`, caused by `origin`.
    pub fn of_sandbox(
        id: EventId,
        sandbox: &Sandbox,
        origin: Option<Origin>,
        fact: Fact,
        timestamp: Timestamp,
    ) -> Self {
        Self { id, team_id: sandbox.team_id, timestamp, subject: Subject::of(sandbox), origin, fact }
    }

    /// Its kind.
    pub const fn event_type(&self) -> EventType {
        self.fact.event_type()
    }

    /// The sandbox it is about, or the one that a notice about something else came from.
    pub fn sandbox(&self) -> Option<&SandboxRef> {
        self.subject.sandbox().or_else(|| self.fact.noticed_sandbox())
    }

    /// That sandbox's id.
    pub fn sandbox_id(&self) -> Option<&SandboxId> {
        self.sandbox().map(|sandbox| &sandbox.id)
    }

    /// The base template it is about, or that of its sandbox.
    pub fn template_id(&self) -> Option<&TemplateId> {
        self.subject.template_id().or_else(|| self.sandbox().map(|sandbox| &sandbox.template_id))
    }

    /// The labels of its sandbox.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        self.sandbox().map_or(&UNLABELLED, |sandbox| &sandbox.metadata)
    }

    /// Why a sandbox ended, if one did.
    pub const fn kill_reason(&self) -> Option<KillReason> {
        self.fact.kill_reason()
    }

    /// The execution it ended, if it ended one.
    pub const fn ended_execution(&self) -> Option<&Summary> {
        self.fact.ended_execution()
    }
}

/// A committed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number in the team's log: 1, 2, 3 … without gaps.
    pub sequence: u64,
    /// Everything else.
    pub draft: EventDraft,
}

impl Event {
    /// Whether it is in no log: made up so that somebody can see what a delivery looks like.
    pub const fn is_test(&self) -> bool {
        self.sequence == 0
    }
}

impl std::ops::Deref for Event {
    type Target = EventDraft;

    fn deref(&self) -> &EventDraft {
        &self.draft
    }
}
