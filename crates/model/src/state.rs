//! A sandbox's life as a pure state machine.
//!
//! ```text
//!            Created                PauseRequested           Paused
//! Creating ──────────► Running ──────────────────► Pausing ─────────► Paused
//!    │                  ▲  │ ▲                        │                 │  ▲
//!    │                  │  │ └────────────────────────┘  ResumeRequested│  │ ResumeFailed
//!    │          Resumed │  │        PauseFailed                         ▼  │
//!    │                  └──┼──────────────────────────────────────── Resuming
//!    │                     │ KillRequested (from any state but Killed)  │
//!    │                     ▼                                            │
//!    │                  Killing ──────────► Killed ◄────────────────────┘
//!    │                            Ended        ▲      Died (from any state but Killing and Killed)
//!    └─────────────────────────────────────────┘
//! ```
//!
//! `Creating`, `Pausing`, `Resuming` and `Killing` are intents: they are persisted before the engine is asked, so
//! that a restart finds out what was under way. Each variant holds exactly what exists in that state: an
//! [`Execution`] only where something runs. A sandbox that fails while `Creating` was never promised to anybody: its
//! row is dropped and no event is due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    BootId, Cause, Death, ExecutionId, ExecutionSummary, Exit, Fact, KillReason, Stamp, Timestamp, Uptime,
};

/// One uninterrupted run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id: new for every create and resume.
    pub id: ExecutionId,
    /// When it started.
    pub started_at: Timestamp,
    /// Its CPUs.
    pub vcpu_count: u32,
    /// Its memory limit, in MiB.
    pub memory_mb: u32,
    /// Its start and end on a clock that nobody can set; absent in records from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

/// From when until when an execution may run, by the host's uptime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The boot of the host that both count from.
    pub boot: BootId,
    /// When it started.
    pub started: Uptime,
    /// When its time is up.
    pub due: Uptime,
}

impl Execution {
    /// Its span, if it is of the boot that `now` is of.
    pub fn span_at(&self, now: Stamp) -> Option<Span> {
        self.span.filter(|span| span.boot == now.boot)
    }

    /// For how long it has run, if the wall clock was set meanwhile: the times it shows are no measure then.
    pub fn ran_over_step(&self, now: Stamp) -> Option<Duration> {
        let span = self.span_at(now)?;
        now.step_since(self.started_at, span.started)?;
        Some(now.uptime.since(span.started))
    }

    /// Its time is up at `due` of the boot that `now` is of.
    pub fn end_at(&mut self, due: Uptime, now: Stamp) {
        let started = self.span_at(now).map_or_else(|| now.uptime_of(self.started_at), |span| span.started);
        self.span = Some(Span { boot: now.boot, started, due });
    }
}

/// What a paused sandbox has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// When it was paused.
    pub paused_at: Timestamp,
    /// The execution that ended with the pause.
    pub last_execution_id: ExecutionId,
    /// Milliseconds that were left of its time; unknown in records from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
}

/// Where a sandbox is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Asked for; nothing has been reported yet.
    Creating {
        /// The execution it is about to start.
        execution: Execution,
    },
    /// Its processes run.
    Running {
        /// The current execution.
        execution: Execution,
    },
    /// Being paused.
    Pausing {
        /// The execution about to end.
        execution: Execution,
    },
    /// Paused: no process runs, memory is kept.
    Paused {
        /// What is kept.
        paused: Paused,
    },
    /// Being resumed.
    Resuming {
        /// What it goes back to if that fails.
        paused: Paused,
        /// The execution it is about to start.
        execution: Execution,
    },
    /// Being killed.
    Killing {
        /// The reason that its event will give.
        reason: KillReason,
        /// What lies behind it, if nobody asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// The execution about to end, if something ran.
        execution: Option<Execution>,
        /// The last execution's id, for the event.
        last_execution_id: ExecutionId,
    },
    /// Ended for good; only its record is kept.
    Killed {
        /// The reason that its event gave.
        reason: KillReason,
        /// What is known about its end.
        exit: Option<Exit>,
        /// When its end was recorded.
        killed_at: Timestamp,
        /// The last execution.
        last_execution_id: ExecutionId,
    },
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The engine made it.
    Created,
    /// A pause was admitted.
    PauseRequested,
    /// The engine paused it.
    Paused {
        /// When its processes stopped.
        at: Timestamp,
    },
    /// The engine could not pause it; it still runs.
    PauseFailed,
    /// A resume was admitted.
    ResumeRequested {
        /// The execution about to start.
        execution: Execution,
    },
    /// The engine resumed it.
    Resumed,
    /// The engine could not resume it; it is still paused.
    ResumeFailed,
    /// A kill was admitted.
    KillRequested {
        /// The reason for its event.
        reason: KillReason,
        /// What lies behind it, if nobody asked for it.
        cause: Option<Cause>,
    },
    /// What was being killed is gone.
    Ended {
        /// What is known about its end.
        exit: Option<Exit>,
        /// When its end was seen.
        at: Timestamp,
    },
    /// It ended although nobody asked.
    Died {
        /// The reason for its event.
        reason: KillReason,
        /// What is known about its end.
        exit: Option<Exit>,
        /// When its end was seen.
        at: Timestamp,
    },
}

/// The transition does not exist from this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not possible while {state}")]
pub struct Denied {
    /// The state it was tried from.
    pub state: StateName,
}

/// A state without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants of State carry the documentation")]
pub enum StateName {
    Creating,
    Running,
    Pausing,
    Paused,
    Resuming,
    Killing,
    Killed,
}

impl StateName {
    /// The store's and the error texts' name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Resuming => "resuming",
            Self::Killing => "killing",
            Self::Killed => "killed",
        }
    }
}

impl StateName {
    /// Whether an event has reported a sandbox in this state.
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Creating)
    }
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl State {
    /// Which state this is.
    pub const fn name(&self) -> StateName {
        match self {
            Self::Creating { .. } => StateName::Creating,
            Self::Running { .. } => StateName::Running,
            Self::Pausing { .. } => StateName::Pausing,
            Self::Paused { .. } => StateName::Paused,
            Self::Resuming { .. } => StateName::Resuming,
            Self::Killing { .. } => StateName::Killing,
            Self::Killed { .. } => StateName::Killed,
        }
    }

    /// Whether something is under way that was recorded before it was done.
    pub const fn is_intent(&self) -> bool {
        matches!(
            self,
            Self::Creating { .. } | Self::Pausing { .. } | Self::Resuming { .. } | Self::Killing { .. }
        )
    }

    /// The execution under way, in states that have one.
    pub const fn execution(&self) -> Option<&Execution> {
        match self {
            Self::Creating { execution }
            | Self::Running { execution }
            | Self::Pausing { execution }
            | Self::Resuming { execution, .. }
            | Self::Killing { execution: Some(execution), .. } => Some(execution),
            Self::Paused { .. } | Self::Killing { execution: None, .. } | Self::Killed { .. } => None,
        }
    }

    /// The same, to be changed.
    pub const fn execution_mut(&mut self) -> Option<&mut Execution> {
        match self {
            Self::Creating { execution }
            | Self::Running { execution }
            | Self::Pausing { execution }
            | Self::Resuming { execution, .. }
            | Self::Killing { execution: Some(execution), .. } => Some(execution),
            Self::Paused { .. } | Self::Killing { execution: None, .. } | Self::Killed { .. } => None,
        }
    }

    /// The execution an event in this state belongs to: the current one, or the last.
    pub const fn execution_id(&self) -> ExecutionId {
        match self {
            Self::Creating { execution }
            | Self::Running { execution }
            | Self::Pausing { execution }
            | Self::Resuming { execution, .. } => execution.id,
            Self::Paused { paused } => paused.last_execution_id,
            Self::Killing { last_execution_id, .. } | Self::Killed { last_execution_id, .. } => {
                *last_execution_id
            }
        }
    }

    /// Applies `transition`: the new state and, if it is one, the fact to be recorded with it, or a refusal that leaves
    /// everything as it was.
    ///
    /// # Errors
    /// [`Denied`] if the state does not allow the transition.
    pub fn apply(&self, transition: Transition) -> Result<(Self, Option<Fact>), Denied> {
        use Transition as T;
        let moved = match (self.clone(), transition) {
            (Self::Creating { execution }, T::Created) => (Self::Running { execution }, Some(Fact::Created)),
            (Self::Running { execution }, T::PauseRequested) => (Self::Pausing { execution }, None),
            (Self::Pausing { execution }, T::Paused { at }) => {
                let fact = Fact::Paused { execution: ExecutionSummary::new(&execution, at) };
                let paused = Paused { paused_at: at, last_execution_id: execution.id, left_ms: None };
                (Self::Paused { paused }, Some(fact))
            }
            (Self::Pausing { execution }, T::PauseFailed) => (Self::Running { execution }, None),
            (Self::Paused { paused }, T::ResumeRequested { execution }) => {
                (Self::Resuming { paused, execution }, None)
            }
            (Self::Resuming { execution, .. }, T::Resumed) => {
                (Self::Running { execution }, Some(Fact::Resumed))
            }
            (Self::Resuming { paused, .. }, T::ResumeFailed) => (Self::Paused { paused }, None),
            (
                state @ (Self::Running { .. }
                | Self::Pausing { .. }
                | Self::Paused { .. }
                | Self::Resuming { .. }),
                T::KillRequested { reason, cause },
            ) => {
                let last_execution_id = state.last_started_execution_id();
                let execution = state.running_execution().cloned();
                (Self::Killing { reason, cause, execution, last_execution_id }, None)
            }
            (Self::Killing { reason, cause, execution, last_execution_id }, T::Ended { exit, at }) => {
                let exit = match cause {
                    Some(_) => Some(Exit { cause, ..exit.unwrap_or_default() }),
                    None => exit,
                };
                killed(reason, exit, at, execution.as_ref(), last_execution_id)
            }
            (
                state @ (Self::Running { .. }
                | Self::Pausing { .. }
                | Self::Paused { .. }
                | Self::Resuming { .. }),
                T::Died { reason, exit, at },
            ) => killed(reason, exit, at, state.running_execution(), state.last_started_execution_id()),
            (state, _) => return Err(Denied { state: state.name() }),
        };
        Ok(moved)
    }

    /// The execution whose time the ledger counts: one that was reported to the client. While resuming, the new one has
    /// not begun as far as anybody knows.
    const fn running_execution(&self) -> Option<&Execution> {
        match self {
            Self::Running { execution } | Self::Pausing { execution } => Some(execution),
            _ => None,
        }
    }

    const fn last_started_execution_id(&self) -> ExecutionId {
        match self {
            Self::Resuming { paused, .. } => paused.last_execution_id,
            other => other.execution_id(),
        }
    }
}

fn killed(
    reason: KillReason,
    exit: Option<Exit>,
    at: Timestamp,
    execution: Option<&Execution>,
    last_execution_id: ExecutionId,
) -> (State, Option<Fact>) {
    let death = Death {
        reason,
        exit: exit.clone(),
        execution: execution.map(|execution| ExecutionSummary::new(execution, at)),
        last_samples: None,
    };
    (State::Killed { reason, exit, killed_at: at, last_execution_id }, Some(Fact::Killed(death)))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
