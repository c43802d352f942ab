//! What happened, with its particulars: each kind of fact holds exactly what belongs to it.

use crate::{
    AlertChange, AlertNotice, EventId, EventType, Execution, Exit, KillReason, OomKills, SampleSummary,
    SandboxRef, Stamp, TemplateId, Timestamp, WebhookId,
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A sandbox was made.
    Created,
    /// A sandbox ended.
    Killed(Death),
    /// A sandbox's configuration changed.
    Updated(Update),
    /// A sandbox was paused.
    Paused {
        /// The execution that the pause ended.
        execution: ExecutionSummary,
    },
    /// A sandbox was resumed.
    Resumed,
    /// A snapshot was taken of a sandbox.
    Checkpointed {
        /// The snapshot's template.
        snapshot: TemplateId,
    },
    /// The kernel killed processes of a sandbox for lack of memory, and it lives on.
    OutOfMemory(OomKills),
    /// How deliveries to a webhook are going has changed.
    Webhook {
        /// To what.
        change: WebhookChange,
        /// What there is to say about it.
        notice: Box<WebhookNotice>,
    },
    /// An alert fires, or does no more.
    Alert {
        /// Which of both.
        change: AlertChange,
        /// What there is to say about it.
        notice: Box<AlertNotice>,
    },
}

/// What is known about the end of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Why it ended.
    pub reason: KillReason,
    /// What the host saw of it, if anything.
    pub exit: Option<Exit>,
    /// The execution that ended with it; none if it was paused.
    pub execution: Option<ExecutionSummary>,
    /// The last samples taken of it, where there are any.
    pub last_samples: Option<SampleSummary>,
}

impl Death {
    /// An end of which nothing but its reason is known.
    pub const fn of(reason: KillReason) -> Self {
        Self { reason, exit: None, execution: None, last_samples: None }
    }
}

/// What was changed about a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// When it times out.
    TimeoutMoved {
        /// The new end time.
        end_at: Timestamp,
    },
}

/// How deliveries to a webhook are going now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WebhookChange {
    /// It is behind: an event has waited for long.
    Lagging,
    /// It was disabled by the server.
    Disabled,
    /// It is well again.
    Recovered,
    /// A delivery ran out of attempts.
    Exhausted,
}

/// What an event says about a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookNotice {
    /// Which webhook.
    pub id: WebhookId,
    /// What people call it.
    pub name: String,
    /// What made it so, in one sentence.
    pub reason: String,
    /// Since when nothing has been delivered to it, if it is failing.
    pub failing_since: Option<Timestamp>,
    /// Attempts that failed since then.
    pub n_failed: u32,
    /// The event whose delivery made it so.
    pub event_id: EventId,
    /// The sandbox of that event, if it has one.
    pub sandbox: Option<SandboxRef>,
}

/// An execution that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionSummary {
    /// When it started.
    pub started_at: Timestamp,
    /// Its CPUs.
    pub vcpu_count: u32,
    /// Its memory limit, in MiB.
    pub memory_mb: u32,
    /// How long it ran, in milliseconds.
    pub execution_time_ms: u64,
}

impl ExecutionSummary {
    /// Sums up `execution`, which ended at `ended_at`. A clock that went backwards counts as no time.
    pub fn new(execution: &Execution, ended_at: Timestamp) -> Self {
        let elapsed = ended_at.as_millisecond().saturating_sub(execution.started_at.as_millisecond());
        Self {
            started_at: execution.started_at,
            vcpu_count: execution.vcpu_count,
            memory_mb: execution.memory_mb,
            execution_time_ms: u64::try_from(elapsed).unwrap_or(0),
        }
    }

    /// Corrects the summary of `execution`, which ended at `ended`, if the wall clock was set while it ran: it took the
    /// time that passed on the host, and it did not start later than that before its end.
    fn correct(&mut self, execution: &Execution, ended: Stamp) {
        let Some(ran) = execution.ran_over_step(ended) else { return };
        let latest_start = ended.at.checked_sub(ran).unwrap_or(Timestamp::MIN);
        self.started_at = self.started_at.min(latest_start);
        self.execution_time_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
    }
}

impl WebhookChange {
    /// Every change.
    pub const ALL: [Self; 4] = [Self::Lagging, Self::Disabled, Self::Recovered, Self::Exhausted];

    /// The kind of the events that report it.
    pub const fn event_type(self) -> EventType {
        match self {
            Self::Lagging => EventType::WebhookLagging,
            Self::Disabled => EventType::WebhookDisabled,
            Self::Recovered => EventType::WebhookRecovered,
            Self::Exhausted => EventType::WebhookExhausted,
        }
    }
}

impl Fact {
    /// Its kind.
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Created => EventType::Created,
            Self::Killed(_) => EventType::Killed,
            Self::Updated(_) => EventType::Updated,
            Self::Paused { .. } => EventType::Paused,
            Self::Resumed => EventType::Resumed,
            Self::Checkpointed { .. } => EventType::Checkpointed,
            Self::OutOfMemory(_) => EventType::OutOfMemory,
            Self::Webhook { change, .. } => change.event_type(),
            Self::Alert { change: AlertChange::Firing, .. } => EventType::AlertFiring,
            Self::Alert { change: AlertChange::Resolved, .. } => EventType::AlertResolved,
        }
    }

    /// What is known about the end of a sandbox, if one ended.
    pub const fn death(&self) -> Option<&Death> {
        match self {
            Self::Killed(death) => Some(death),
            _ => None,
        }
    }

    /// Why a sandbox ended, if one did.
    pub const fn kill_reason(&self) -> Option<KillReason> {
        match self {
            Self::Killed(death) => Some(death.reason),
            _ => None,
        }
    }

    /// The execution it ended, if it ended one.
    pub const fn ended_execution(&self) -> Option<&ExecutionSummary> {
        match self {
            Self::Paused { execution } => Some(execution),
            Self::Killed(Death { execution, .. }) => execution.as_ref(),
            Self::Created
            | Self::Updated(_)
            | Self::Resumed
            | Self::Checkpointed { .. }
            | Self::OutOfMemory(_)
            | Self::Webhook { .. }
            | Self::Alert { .. } => None,
        }
    }

    /// Corrects what it says of `execution`, which ended at `ended`, if the wall clock was set while it ran.
    pub fn correct_execution(&mut self, execution: &Execution, ended: Stamp) {
        let summary = match self {
            Self::Paused { execution } => Some(execution),
            Self::Killed(Death { execution, .. }) => execution.as_mut(),
            _ => None,
        };
        if let Some(summary) = summary {
            summary.correct(execution, ended);
        }
    }

    /// By how much it changed the number of running sandboxes.
    pub const fn concurrency_change(&self) -> i32 {
        match self {
            Self::Created | Self::Resumed => 1,
            _ if self.ended_execution().is_some() => -1,
            _ => 0,
        }
    }

    /// The sandbox that a notice names beside what it is about.
    pub(super) fn noticed_sandbox(&self) -> Option<&SandboxRef> {
        match self {
            Self::Webhook { notice, .. } => notice.sandbox.as_ref(),
            Self::Alert { notice, .. } => notice.sandbox.as_ref(),
            _ => None,
        }
    }
}
