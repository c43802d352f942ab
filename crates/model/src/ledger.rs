//! The ledger: what a log says about who was in which state when, and for how long. Pure folds over events.
//!
//! An execution's time is counted in whole milliseconds, as the event that ends it says: from the millisecond it
//! started in up to, not including, the one it ended in. Windows cut it at whole milliseconds, too, so that windows
//! that adjoin add up to exactly what one window over all of them says. If the wall clock was set while it ran, its time
//! is what passed on the host, and it lies as early as it started, but ends no later than the event.
//!
//! A log may begin in the middle of a life, because retention has removed what was before. Each event says enough
//! about the state before it to go on from there: see [`before`].

use crate::{
    Death, Event, Execution, ExecutionId, ExecutionSummary, Fact, KillReason, Stamp, State, Timestamp,
};

/// What a client sees of a sandbox that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It runs.
    Running,
    /// It is paused.
    Paused,
}

/// Where a sandbox is after `event`; `None`: gone. Events that belong to no lifecycle say nothing of it: not to be
/// asked about.
pub const fn after(event: &Event) -> Option<Presence> {
    match event.draft.fact {
        Fact::Created | Fact::Resumed | Fact::Updated(_) | Fact::Checkpointed { .. } => {
            Some(Presence::Running)
        }
        Fact::Paused { .. } => Some(Presence::Paused),
        Fact::Killed(_) | Fact::OutOfMemory(_) | Fact::Webhook { .. } | Fact::Alert { .. } => None,
    }
}

/// Where a sandbox was before `event`; `None`: not there yet.
pub const fn before(event: &Event) -> Option<Presence> {
    match event.draft.fact {
        Fact::Created | Fact::OutOfMemory(_) | Fact::Webhook { .. } | Fact::Alert { .. } => None,
        Fact::Resumed | Fact::Killed(Death { execution: None, .. }) => Some(Presence::Paused),
        Fact::Paused { .. }
        | Fact::Updated(_)
        | Fact::Checkpointed { .. }
        | Fact::Killed(Death { execution: Some(_), .. }) => Some(Presence::Running),
    }
}

/// The execution that clients know to be under way in `state`: what the ledger counts although no event has ended it.
pub const fn open_execution(state: &State) -> Option<&Execution> {
    match state {
        State::Running { execution }
        | State::Pausing { execution }
        | State::Killing { execution: Some(execution), .. } => Some(execution),
        _ => None,
    }
}

/// A stretch of a sandbox's life in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// In which state.
    pub presence: Presence,
    /// When it began; `None`: retention has removed what would show it.
    pub start: Option<Timestamp>,
    /// When it ended; `None`: it has not.
    pub end: Option<Timestamp>,
    /// Its length in milliseconds, if both are known.
    pub duration_ms: Option<u64>,
    /// The execution, of one that runs.
    pub execution_id: Option<ExecutionId>,
    /// CPUs and memory limit in MiB, of one that runs, where they are known.
    pub size: Option<(u32, u32)>,
    /// What ended it.
    pub ended_by: Option<Ending>,
}

/// What ended a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A pause.
    Paused,
    /// A resume.
    Resumed,
    /// Its end, for this reason.
    Killed(KillReason),
}

/// The segments of one sandbox's life, from its events in the order of the log and its state in the store. The state
/// must not be older than the last event.
pub fn segments(events: &[Event], state: Option<&State>) -> Vec<Segment> {
    let mut life = Vec::new();
    for event in events {
        let at = event.timestamp;
        let execution_id = event.subject.sandbox().map(|sandbox| sandbox.execution_id);
        match &event.fact {
            Fact::Created => life.push(open(Presence::Running, Some(at), execution_id)),
            Fact::Resumed => {
                close(&mut life, Presence::Paused, None, at, Ending::Resumed);
                life.push(open(Presence::Running, Some(at), execution_id));
            }
            Fact::Paused { .. } => {
                close(&mut life, Presence::Running, Some(event), at, Ending::Paused);
                life.push(open(Presence::Paused, Some(at), None));
            }
            Fact::Killed(death) => {
                let presence = before(event).unwrap_or(Presence::Paused);
                close(&mut life, presence, Some(event), at, Ending::Killed(death.reason));
            }
            Fact::Updated(_)
            | Fact::Checkpointed { .. }
            | Fact::OutOfMemory(_)
            | Fact::Webhook { .. }
            | Fact::Alert { .. } => {}
        }
    }
    match state {
        Some(State::Paused { paused } | State::Resuming { paused, .. }) if life.is_empty() => {
            life.push(open(Presence::Paused, Some(paused.paused_at), None));
        }
        Some(state) => {
            if let Some(execution) = open_execution(state) {
                if life.last().is_none_or(|last| last.presence != Presence::Running || last.end.is_some()) {
                    life.push(open(Presence::Running, None, Some(execution.id)));
                }
                begin(&mut life, execution.started_at, (execution.vcpu_count, execution.memory_mb));
            }
        }
        None => {}
    }
    life
}

const fn open(presence: Presence, start: Option<Timestamp>, execution_id: Option<ExecutionId>) -> Segment {
    Segment { presence, start, end: None, duration_ms: None, execution_id, size: None, ended_by: None }
}

/// Ends the last segment, which is `presence`; where the log begins with its end, it is made up first.
fn close(
    life: &mut Vec<Segment>,
    presence: Presence,
    event: Option<&Event>,
    at: Timestamp,
    ended_by: Ending,
) {
    if life.last().is_none_or(|last| last.presence != presence || last.end.is_some()) {
        let of = event.filter(|_| presence == Presence::Running).and_then(|event| event.subject.sandbox());
        life.push(open(presence, None, of.map(|sandbox| sandbox.execution_id)));
    }
    let summary = event.and_then(|event| event.ended_execution());
    if let Some(summary) = summary {
        begin(life, summary.started_at, (summary.vcpu_count, summary.memory_mb));
    }
    if let Some(last) = life.last_mut() {
        last.end = Some(at);
        last.ended_by = Some(ended_by);
        let elapsed = last.start.map(|start| between(start, at));
        last.duration_ms = summary.map(|summary| summary.execution_time_ms).or(elapsed);
    }
}

/// Says when the last segment, an execution, really began: its event came a little later. A pause before it lasted
/// until then.
fn begin(life: &mut [Segment], started_at: Timestamp, size: (u32, u32)) {
    let [before @ .., last] = life else { return };
    last.start = Some(started_at);
    last.size = Some(size);
    if let Some(paused) = before.last_mut() {
        paused.end = Some(started_at);
        paused.duration_ms = paused.start.map(|start| between(start, started_at));
    }
}

/// Milliseconds from `start` to `end`; a clock that went backwards counts as no time.
pub fn between(start: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.as_millisecond().saturating_sub(start.as_millisecond())).unwrap_or(0)
}

/// A span of time in whole milliseconds since 1970: from `start_ms` up to, not including, `end_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first millisecond.
    pub start_ms: i64,
    /// The first one after it.
    pub end_ms: i64,
}

impl Window {
    /// Milliseconds of `other` that lie within.
    pub fn overlap(self, other: Self) -> u64 {
        let (start, end) = (self.start_ms.max(other.start_ms), self.end_ms.min(other.end_ms));
        u64::try_from(end.saturating_sub(start)).unwrap_or(0)
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Executions that ran for at least a millisecond of the window.
    pub n_executions: u64,
    /// Those of them that had not ended.
    pub n_open: u64,
    /// Milliseconds of execution.
    pub execution_ms: u128,
    /// Milliseconds times CPUs.
    pub vcpu_ms: u128,
    /// Milliseconds times MiB of memory limit.
    pub mib_ms: u128,
}

impl Usage {
    /// Adds the part of an ended execution that lies within `window`.
    pub fn add_ended(&mut self, execution: &ExecutionSummary, window: Window) {
        let start_ms = execution.started_at.as_millisecond();
        let length = i64::try_from(execution.execution_time_ms).unwrap_or(i64::MAX);
        let ran = Window { start_ms, end_ms: start_ms.saturating_add(length) };
        self.add(ran.overlap(window), (execution.vcpu_count, execution.memory_mb), false);
    }

    /// Adds the part of an execution still under way at `now` that lies within `window`. If the wall clock was set while
    /// it ran, it is placed where its end will place it: see [`Fact::correct_execution`].
    pub fn add_open(&mut self, execution: &Execution, window: Window, now: Stamp) {
        let start_ms = execution.started_at.as_millisecond();
        let ran = match execution.ran_over_step(now) {
            None => Window { start_ms, end_ms: i64::MAX },
            Some(ran) => {
                let ran_ms = i64::try_from(ran.as_millis()).unwrap_or(i64::MAX);
                let start_ms = start_ms.min(now.at.as_millisecond().saturating_sub(ran_ms));
                Window { start_ms, end_ms: start_ms.saturating_add(ran_ms) }
            }
        };
        self.add(ran.overlap(window), (execution.vcpu_count, execution.memory_mb), true);
    }

    fn add(&mut self, ms: u64, (vcpu_count, memory_mb): (u32, u32), is_open: bool) {
        self.n_executions += u64::from(ms > 0);
        self.n_open += u64::from(ms > 0 && is_open);
        let ms = u128::from(ms);
        self.execution_ms += ms;
        self.vcpu_ms += ms * u128::from(vcpu_count);
        self.mib_ms += ms * u128::from(memory_mb);
    }

    /// Adds what another one says.
    pub fn merge(&mut self, other: &Self) {
        self.n_executions += other.n_executions;
        self.n_open += other.n_open;
        self.execution_ms += other.execution_ms;
        self.vcpu_ms += other.vcpu_ms;
        self.mib_ms += other.mib_ms;
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
