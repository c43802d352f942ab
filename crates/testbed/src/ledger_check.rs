use std::collections::BTreeMap;

use sandscope_model::ledger::{Presence, Usage, Window, after, open_execution, segments};
use sandscope_model::{Event, EventClass, Sandbox, SandboxId, TeamId, Timestamp};
use sandscope_store::{Store, StoreError};

/// Everything, as a window of time.
const ALWAYS: Window = Window { start_ms: i64::MIN / 2, end_ms: i64::MAX / 2 };

/// What the ledger says that the log and the rows do not: about each sandbox's segments, and about the usage of all.
pub(crate) async fn ledger_faults(
    store: &Store,
    team: TeamId,
    log: &[Event],
    live: &[Sandbox],
) -> Result<Vec<String>, StoreError> {
    let mut wrong = Vec::new();
    let mut lives: BTreeMap<&SandboxId, Vec<Event>> = BTreeMap::new();
    for event in log.iter().filter(|event| event.event_type().class() == EventClass::Lifecycle) {
        if let Some(sandbox) = event.subject.sandbox() {
            lives.entry(&sandbox.id).or_default().push(event.clone());
        }
    }
    let mut said = 0_u64;
    for (id, events) in lives {
        let row = live.iter().find(|sandbox| sandbox.id == *id);
        let said_by_events = events.iter().filter_map(|event| event.ended_execution());
        let said_by_events: u64 = said_by_events.map(|execution| execution.execution_time_ms).sum();
        said += said_by_events;
        let life = segments(&events, row.map(|row| &row.state));
        let ran = life.iter().filter(|segment| segment.presence == Presence::Running);
        let ran: u64 = ran.filter_map(|segment| segment.duration_ms).sum();
        if ran != said_by_events {
            wrong.push(format!(
                "{id} ran for {ran} ms by its segments, for {said_by_events} ms by its events"
            ));
        }
        if life.windows(2).any(|pair| pair[0].end != pair[1].start || pair[0].presence == pair[1].presence) {
            wrong.push(format!("{id} has segments that do not adjoin: {life:?}"));
        }
        let open = life.last().filter(|last| last.end.is_none()).map(|last| last.presence);
        if open != events.last().and_then(after) {
            wrong.push(format!("{id} is {open:?} by its segments, but not by its last event"));
        }
    }
    let moment = store.events.ledger_moment(team).await?;
    let running = live.iter().filter_map(|sandbox| open_execution(&sandbox.state)).count();
    if moment.open.len() != running {
        wrong.push(format!("{} executions are under way by the ledger, {running} run", moment.open.len()));
    }
    let (mut usage, mut position) = (Usage::default(), Some(0));
    while let Some(from) = position {
        let part = store.events.ended_executions(team, Timestamp::MIN, from, moment.last, 3).await?;
        part.executions.iter().for_each(|ended| usage.add_ended(&ended.summary, ALWAYS));
        position = part.next;
    }
    if usage.execution_ms != u128::from(said) {
        wrong.push(format!("{} ms were used by the ledger, {said} ms by the events", usage.execution_ms));
    }
    Ok(wrong)
}
