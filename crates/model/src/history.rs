//! The log of a team, read the way a client would: what is each sandbox's state, and does anything contradict itself?
//!
//! Pure, one event at a time. `sandscope fsck` holds the answer against the rows and the kernel; tests do so after
//! every fault they inject.

use std::collections::{BTreeMap, HashSet};

use crate::{Event, EventId, EventType, ExecutionId, SandboxId, StateName, Timestamp};

/// What the log says about one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `Running`, `Paused` or `Killed`.
    pub state: StateName,
    /// The current or last execution.
    pub execution_id: ExecutionId,
    /// The end time last told, if the current execution was given another one.
    pub set_timeout: Option<Timestamp>,
    /// Processes it was told to have lost for lack of memory.
    pub n_oom_kills: Option<u64>,
}

/// An event that cannot be where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {sequence} of {sandbox_id}: {what}")]
pub struct Complaint {
    /// Its number.
    pub sequence: u64,
    /// Whose it is.
    pub sandbox_id: SandboxId,
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
    told: BTreeMap<SandboxId, Told>,
}

impl History {
    /// A log about to be read after `last_sequence`; 0 is its beginning. What came before has been removed: of a
    /// sandbox that is older than that only what follows is checked.
    pub fn after(last_sequence: u64) -> Self {
        Self { last_sequence, is_whole: last_sequence == 0, ids: HashSet::new(), told: BTreeMap::new() }
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
            wrong.push(format!("id {} was told before", event.id));
        }
        self.follow(event, &mut wrong);
        let of_event =
            |what| Complaint { sequence: event.sequence, sandbox_id: event.sandbox_id.clone(), what };
        wrong.into_iter().map(of_event).collect()
    }

    fn follow(&mut self, event: &Event, wrong: &mut Vec<String>) {
        // Borrows a sandbox and says nothing about it.
        if event.event_type.is_operational() {
            return;
        }
        wrong.extend(wrong_execution_time(event));
        let before = self.told.get(&event.sandbox_id);
        let may_begin_anywhere = !self.is_whole && before.is_none();
        match follow(before, event) {
            Ok(told) => drop(self.told.insert(event.sandbox_id.clone(), told)),
            Err(complaint) => {
                if !may_begin_anywhere {
                    wrong.push(complaint);
                }
                self.told.insert(event.sandbox_id.clone(), at_face_value(event));
            }
        }
    }

    /// The number of the last event read.
    pub const fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// What the log says about each sandbox, those that are gone included.
    pub const fn told(&self) -> &BTreeMap<SandboxId, Told> {
        &self.told
    }
}

/// An execution's time is the time between its start and the event that ends it, to the millisecond.
fn wrong_execution_time(event: &Event) -> Option<String> {
    let execution = event.data.execution.as_ref()?;
    let elapsed = event.timestamp.as_millisecond().saturating_sub(execution.started_at.as_millisecond());
    let elapsed = u64::try_from(elapsed).unwrap_or(0);
    (elapsed != execution.execution_time_ms)
        .then(|| format!("its execution took {elapsed} ms, it says {}", execution.execution_time_ms))
}

/// What an event says on its own.
const fn state_after(event_type: EventType) -> StateName {
    match event_type {
        EventType::Paused => StateName::Paused,
        EventType::Killed => StateName::Killed,
        _ => StateName::Running,
    }
}

fn at_face_value(event: &Event) -> Told {
    Told {
        state: state_after(event.event_type),
        execution_id: event.execution_id,
        set_timeout: event.data.set_timeout,
        n_oom_kills: event.data.oom_kills.map(|kills| kills.n_total),
    }
}

/// What is told after `event`, if it can follow what was told before.
fn follow(before: Option<&Told>, event: &Event) -> Result<Told, String> {
    let data = &event.data;
    let Some(before) = before else {
        return match event.event_type {
            EventType::Created => Ok(Told { n_oom_kills: Some(0), ..at_face_value(event) }),
            event_type => Err(format!("{event_type} of a sandbox nobody was told of")),
        };
    };
    let same_execution = before.execution_id == event.execution_id;
    let after = |state, set_timeout| Told {
        state,
        execution_id: event.execution_id,
        set_timeout,
        n_oom_kills: before.n_oom_kills,
    };
    let has_execution = data.execution.is_some();
    let told = match (before.state, event.event_type) {
        (StateName::Paused, EventType::Resumed) if !same_execution => {
            return Ok(after(StateName::Running, None));
        }
        (StateName::Running, EventType::Updated) if data.set_timeout.is_some() => {
            after(StateName::Running, data.set_timeout)
        }
        (StateName::Running, EventType::Checkpointed) if data.snapshot_template_id.is_some() => {
            after(StateName::Running, before.set_timeout)
        }
        (StateName::Running, EventType::Paused) if has_execution => after(StateName::Paused, None),
        (state @ (StateName::Running | StateName::Paused), EventType::Killed)
            if data.kill_reason.is_some() && has_execution == (state == StateName::Running) =>
        {
            after(StateName::Killed, None)
        }
        (state @ (StateName::Running | StateName::Paused), EventType::OutOfMemory) => {
            let kills = data.oom_kills.ok_or("it does not say how many processes were killed")?;
            if before.n_oom_kills.is_some_and(|told| told + kills.n_new != kills.n_total) {
                return Err(format!(
                    "{} kills were told before, it says {kills:?}",
                    before.n_oom_kills.unwrap_or(0)
                ));
            }
            Told { n_oom_kills: Some(kills.n_total), ..after(state, before.set_timeout) }
        }
        (state, event_type) => return Err(format!("{event_type} with {data:?} cannot follow {state}")),
    };
    if same_execution { Ok(told) } else { Err(format!("{} of another execution", event.event_type)) }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
