//! The log of a team, read the way a client would: what is each sandbox's state, and does anything contradict itself?
//!
//! Pure, one event at a time. `sandscope fsck` holds the answer against the rows and the kernel; tests do so after
//! every fault they inject.

use std::collections::{BTreeMap, HashSet};

use crate::{
    Death, Event, EventId, ExecutionId, Fact, SandboxId, SandboxRef, StateName, SubjectKey, Timestamp, Update,
};

/// What the log says about one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedSandbox {
    /// `Running`, `Paused` or `Killed`.
    pub state: StateName,
    /// The current or last execution.
    pub execution_id: ExecutionId,
    /// The end time last recorded, if the current execution was given another one.
    pub set_timeout: Option<Timestamp>,
    /// Processes it is recorded to have lost for lack of memory.
    pub n_oom_kills: Option<u64>,
}

/// An event that cannot be where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {sequence} of {subject}: {what}")]
pub struct Complaint {
    /// Its number.
    pub sequence: u64,
    /// What it is about.
    pub subject: SubjectKey,
    /// What is wrong with it.
    pub what: String,
}

/// A team's log as far as it has been read.
#[derive(Debug, Clone)]
pub struct History {
    last_sequence: u64,
    /// Whether nothing was removed before the first event read.
    is_whole: bool,
    ids: HashSet<EventId>,
    newest: Option<(EventId, Timestamp)>,
    sandboxes: BTreeMap<SandboxId, LoggedSandbox>,
}

impl History {
    /// A log about to be read after `last_sequence`; 0 is its beginning. What came before has been removed: of a
    /// sandbox that is older than that only what follows is checked.
    pub fn after(last_sequence: u64) -> Self {
        Self {
            last_sequence,
            is_whole: last_sequence == 0,
            ids: HashSet::new(),
            newest: None,
            sandboxes: BTreeMap::new(),
        }
    }

    /// Reads the next event. Everything wrong with it is returned; it is taken for what it says all the same, so that
    /// one fault is not found again in every event after it.
    pub fn push(&mut self, event: &Event) -> Vec<Complaint> {
        let mut wrong = Vec::new();
        let expected = self.last_sequence + 1;
        if event.sequence != expected {
            wrong.push(format!("its number should be {expected}"));
        }
        self.last_sequence = event.sequence;
        if !self.ids.insert(event.id) {
            wrong.push(format!("id {} was recorded before", event.id));
        }
        if let Some((id, at)) =
            self.newest.replace((event.id, event.timestamp)).filter(|_| event.id.is_ordered())
        {
            if event.timestamp < at {
                wrong.push(format!("it happened before the event that it follows, at {at}"));
            }
            if id.is_ordered() && event.id <= id {
                wrong.push(format!("id {} does not sort behind {id}, which it follows", event.id));
            }
        }
        self.follow(event, &mut wrong);
        let of_event = |what| Complaint { sequence: event.sequence, subject: event.subject.key(), what };
        wrong.into_iter().map(of_event).collect()
    }

    fn follow(&mut self, event: &Event, wrong: &mut Vec<String>) {
        // What is noticed about a sandbox says nothing about its state.
        if event.event_type().is_operational() {
            return;
        }
        let Some(sandbox) = event.subject.sandbox() else {
            wrong.push(format!("{} is about no sandbox", event.event_type()));
            return;
        };
        wrong.extend(wrong_execution_time(event));
        let before = self.sandboxes.get(&sandbox.id);
        let may_begin_anywhere = !self.is_whole && before.is_none();
        match follow(before, sandbox, &event.fact) {
            Ok(logged) => drop(self.sandboxes.insert(sandbox.id.clone(), logged)),
            Err(complaint) => {
                if !may_begin_anywhere {
                    wrong.push(complaint);
                }
                self.sandboxes.insert(sandbox.id.clone(), at_face_value(sandbox, &event.fact));
            }
        }
    }

    /// The number of the last event read.
    pub const fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// What the log says about each sandbox, those that are gone included.
    pub const fn sandboxes(&self) -> &BTreeMap<SandboxId, LoggedSandbox> {
        &self.sandboxes
    }
}

/// An execution's time is the time between its start and the event that ends it, to the millisecond; less, if the wall
/// clock was set forward meanwhile. Never more.
fn wrong_execution_time(event: &Event) -> Option<String> {
    let execution = event.ended_execution()?;
    let elapsed = event.timestamp.as_millisecond().saturating_sub(execution.started_at.as_millisecond());
    let elapsed = u64::try_from(elapsed).unwrap_or(0);
    (elapsed < execution.execution_time_ms)
        .then(|| format!("its execution took {elapsed} ms, it says {}", execution.execution_time_ms))
}

/// What a fact says on its own.
fn at_face_value(sandbox: &SandboxRef, fact: &Fact) -> LoggedSandbox {
    let (mut set_timeout, mut n_oom_kills) = (None, None);
    let state = match fact {
        Fact::Paused { .. } => StateName::Paused,
        Fact::Killed(_) => StateName::Killed,
        Fact::Updated(Update::TimeoutMoved { end_at }) => {
            set_timeout = Some(*end_at);
            StateName::Running
        }
        Fact::OutOfMemory(kills) => {
            n_oom_kills = Some(kills.n_total);
            StateName::Running
        }
        Fact::Created
        | Fact::Resumed
        | Fact::Checkpointed { .. }
        | Fact::Webhook { .. }
        | Fact::Alert { .. } => StateName::Running,
    };
    LoggedSandbox { state, execution_id: sandbox.execution_id, set_timeout, n_oom_kills }
}

/// The state after `fact`, if it can follow the state before.
fn follow(
    before: Option<&LoggedSandbox>,
    sandbox: &SandboxRef,
    fact: &Fact,
) -> Result<LoggedSandbox, String> {
    let kind = fact.event_type();
    let Some(before) = before else {
        return match fact {
            Fact::Created => Ok(LoggedSandbox { n_oom_kills: Some(0), ..at_face_value(sandbox, fact) }),
            _ => Err(format!("{kind} of a sandbox that was never created")),
        };
    };
    let same_execution = before.execution_id == sandbox.execution_id;
    let after = |state, set_timeout| LoggedSandbox {
        state,
        execution_id: sandbox.execution_id,
        set_timeout,
        n_oom_kills: before.n_oom_kills,
    };
    let logged = match (before.state, fact) {
        (StateName::Paused, Fact::Resumed) if !same_execution => {
            return Ok(after(StateName::Running, None));
        }
        (StateName::Running, Fact::Updated(Update::TimeoutMoved { end_at })) => {
            after(StateName::Running, Some(*end_at))
        }
        (StateName::Running, Fact::Checkpointed { .. }) => after(StateName::Running, before.set_timeout),
        (StateName::Running, Fact::Paused { .. }) => after(StateName::Paused, None),
        (StateName::Running, Fact::Killed(Death { execution: Some(_), .. }))
        | (StateName::Paused, Fact::Killed(Death { execution: None, .. })) => after(StateName::Killed, None),
        (state @ (StateName::Running | StateName::Paused), Fact::OutOfMemory(kills)) => {
            if before.n_oom_kills.is_some_and(|logged| logged + kills.n_new != kills.n_total) {
                return Err(format!(
                    "{} kills were recorded before, it says {kills:?}",
                    before.n_oom_kills.unwrap_or(0)
                ));
            }
            LoggedSandbox { n_oom_kills: Some(kills.n_total), ..after(state, before.set_timeout) }
        }
        // Each kind by name: of a new one the compiler asks what it may follow.
        (
            state,
            Fact::Created
            | Fact::Killed(_)
            | Fact::Updated(_)
            | Fact::Paused { .. }
            | Fact::Resumed
            | Fact::Checkpointed { .. }
            | Fact::OutOfMemory(_)
            | Fact::Webhook { .. }
            | Fact::Alert { .. },
        ) => return Err(format!("{kind} with {fact:?} cannot follow {state}")),
    };
    if same_execution { Ok(logged) } else { Err(format!("{kind} of another execution")) }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
