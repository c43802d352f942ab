//! What the ledger is folded from: a sandbox's own history, who was there at a time, and the executions of a span.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use sandscope_model::ledger::{Presence, after, before, open_execution};
use sandscope_model::{
    Event, EventFilter, EventType, Execution, ExecutionId, ExecutionSummary, FIRST_NAMED_CODE, Sandbox,
    SandboxId, State, Subject, TeamId, TemplateId, Timestamp,
};

use crate::facts::event_pages::{numbers, sql};
use crate::facts::events::{COLUMNS, decode};
use crate::facts::sandboxes;
use crate::facts::teams::team_no;
use crate::sqlite::row::{Cells, Columns, all, first, integer, only};
use crate::{EventLog, Order, StoreError};

/// Sandboxes looked at for one page of those that were there at a time.
const MAX_SANDBOXES_EXAMINED: u32 = 1_000;

/// How far back a team's history goes, and what runs now: one moment of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerMoment {
    /// The number of the newest event.
    pub last: u64,
    /// The newest time of which retention has removed an event; only later times are whole.
    pub cut_at: Option<Timestamp>,
    /// Executions no event has ended yet.
    pub open: Vec<OpenExecution>,
}

/// An execution that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenExecution {
    /// The sandbox that ran.
    pub sandbox_id: SandboxId,
    /// Of which base template.
    pub template_id: TemplateId,
    /// With which labels.
    pub metadata: BTreeMap<String, String>,
    /// The execution, as it began.
    pub execution: Execution,
}

/// An execution that an event has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedExecution {
    /// The sandbox that ran.
    pub sandbox_id: SandboxId,
    /// Of which base template.
    pub template_id: TemplateId,
    /// With which labels.
    pub metadata: BTreeMap<String, String>,
    /// The execution, summed up.
    pub summary: ExecutionSummary,
}

/// A part of the executions that have ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedExecutions {
    /// Executions of this part.
    pub executions: Vec<EndedExecution>,
    /// Where the next part starts; `None`: this was the last.
    pub next: Option<u64>,
}

/// A sandbox's changes of state, and where it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxHistory {
    /// Its events but for those that change no state, oldest first.
    pub events: Vec<Event>,
    /// Whether those are all there ever were.
    pub is_complete: bool,
    /// Its row, until retention removes it.
    pub sandbox: Option<Sandbox>,
}

/// A sandbox that was there at some time.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxAt {
    /// The sandbox.
    pub sandbox_id: SandboxId,
    /// Running or paused.
    pub presence: Presence,
    /// Of which base template.
    pub template_id: TemplateId,
    /// The current execution, or the last.
    pub execution_id: ExecutionId,
    /// With which labels.
    pub metadata: BTreeMap<String, String>,
    /// The last event before that time, where it is still kept: number, type and time.
    pub last_event: Option<(u64, EventType, Timestamp)>,
}

/// A part of the sandboxes that were there at some time, by id.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxesAt {
    /// Sandboxes of this part, by id.
    pub sandboxes: Vec<SandboxAt>,
    /// The last one looked at; `None`: there are no more.
    pub next: Option<SandboxId>,
}

fn moment(connection: &Connection, team: TeamId) -> Result<LedgerMoment, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let team_no = team_no(&snapshot, team)?;
    let statement = snapshot.prepare_cached("SELECT last_sequence, cut_at FROM teams WHERE no = ?")?;
    let found = first(statement, [team_no], "teams", |cells| {
        Ok((cells.number("last_sequence")?, cells.optional_time("cut_at")?))
    })?;
    let (last, cut_at) = found.ok_or(StoreError::UnknownTeam)?;
    let open = sandboxes::live_of_team(&snapshot, team_no)?.into_iter().filter_map(|sandbox| {
        Some(OpenExecution {
            execution: open_execution(&sandbox.state)?.clone(),
            sandbox_id: sandbox.id,
            template_id: sandbox.spec.template_id,
            metadata: sandbox.spec.metadata,
        })
    });
    Ok(LedgerMoment { last, cut_at, open: open.collect() })
}

/// The ends of executions: what the ledger reads.
pub(crate) fn endings() -> EventFilter {
    EventFilter { types: vec![EventType::Killed, EventType::Paused], ..EventFilter::default() }
}

fn ended(
    connection: &Connection,
    team: TeamId,
    start: Timestamp,
    (position, last): (u64, u64),
    limit: u32,
) -> Result<EndedExecutions, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let none = EndedExecutions { executions: Vec::new(), next: None };
    let Some((low, _)) = numbers(&snapshot, team, Some(start), None)? else { return Ok(none) };
    let mut statement = snapshot.prepare_cached(&sql(&endings(), Order::Asc))?;
    let nothing: Option<&str> = None;
    let (low, high) = (low.max(integer(position)), integer(last.saturating_add(1)));
    let columns = Columns::of(&statement, "events");
    let mut rows = statement.query(params![team.as_uuid().as_bytes(), low, high, nothing, 0])?;
    let mut part = none;
    let mut n_examined = 0;
    while let Some(row) = rows.next()? {
        let event = decode(&mut Cells::new(row, &columns), team)?;
        n_examined += 1;
        let (sequence, draft) = (event.sequence, event.draft);
        if let Some(summary) = draft.ended_execution().filter(|_| draft.timestamp >= start)
            && let Subject::Sandbox(sandbox) = &draft.subject
        {
            part.executions.push(EndedExecution {
                sandbox_id: sandbox.id.clone(),
                template_id: sandbox.template_id.clone(),
                metadata: sandbox.metadata.clone(),
                summary: summary.clone(),
            });
        }
        if n_examined == limit {
            part.next = Some(sequence);
            break;
        }
    }
    Ok(part)
}

fn history(
    connection: &Connection,
    team: TeamId,
    id: &SandboxId,
    limit: u32,
) -> Result<Option<SandboxHistory>, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let sandbox = sandboxes::by_id(&snapshot, id)?.filter(|sandbox| sandbox.team_id == team);
    let types = vec![EventType::Created, EventType::Paused, EventType::Resumed, EventType::Killed];
    let filter = EventFilter { sandbox_id: Some(id.clone()), types, ..EventFilter::default() };
    let newest = format!("SELECT * FROM ({}) LIMIT ?6", sql(&filter, Order::Desc));
    let values = params![team.as_uuid().as_bytes(), 0, i64::MAX, id.as_str(), 0, limit];
    let mut events = all(snapshot.prepare_cached(&newest)?, values, "events", |cells| decode(cells, team))?;
    events.reverse();
    let is_known = sandbox.as_ref().is_some_and(|sandbox| sandbox.state.name().is_known());
    if events.is_empty() && !is_known {
        return Ok(None);
    }
    let is_complete = events.first().is_some_and(|event| event.event_type() == EventType::Created);
    Ok(Some(SandboxHistory { events, is_complete, sandbox }))
}

/// The next sandbox of the log by id.
pub(crate) const NEXT_OF_LOG: &str =
    "SELECT MIN(sandbox_id) FROM events INDEXED BY events_by_sandbox WHERE team_no = ?1 AND sandbox_id > ?2";

/// The events of a sandbox with numbers below `?3`, newest first.
pub(crate) fn of_sandbox_before() -> String {
    format!(
        "SELECT {COLUMNS} FROM events INDEXED BY events_by_sandbox
         WHERE team_no = ?1 AND sandbox_id = ?2 AND sequence < ?3 AND event_type < {FIRST_NAMED_CODE}
         ORDER BY sequence DESC"
    )
}

fn at(
    connection: &Connection,
    team: TeamId,
    time: Timestamp,
    behind: Option<&SandboxId>,
    limit: u32,
) -> Result<SandboxesAt, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let team_no = team_no(&snapshot, team)?;
    let live: BTreeMap<SandboxId, Sandbox> = sandboxes::live_of_team(&snapshot, team_no)?
        .into_iter()
        .filter(|sandbox| sandbox.state.name().is_known())
        .map(|sandbox| (sandbox.id.clone(), sandbox))
        .collect();
    // The bound leaves out its end, and stored times are cut to the microsecond.
    let until = time.checked_add(std::time::Duration::from_micros(1)).unwrap_or(time);
    let high = numbers(&snapshot, team, None, Some(until))?.map_or(0, |(_, high)| high);
    let mut page = SandboxesAt { sandboxes: Vec::new(), next: None };
    let mut waiting: BTreeSet<&SandboxId> = live.keys().filter(|id| behind.is_none_or(|b| *id > b)).collect();
    let mut position = behind.cloned();
    for _ in 0..MAX_SANDBOXES_EXAMINED {
        if page.sandboxes.len() >= limit as usize {
            page.next = position;
            return Ok(page);
        }
        let after_id = position.as_ref().map_or("", |id| id.as_str());
        let of_log: Option<String> = snapshot
            .prepare_cached(NEXT_OF_LOG)?
            .query_row(params![team_no, after_id], only)
            .optional()?
            .flatten();
        let of_log: Option<SandboxId> = of_log.and_then(|text| text.parse().ok());
        let next = match (of_log, waiting.first()) {
            (Some(log), Some(row)) => log.min((*row).clone()),
            (Some(id), None) => id,
            (None, Some(id)) => (*id).clone(),
            (None, None) => return Ok(page),
        };
        waiting.remove(&next);
        page.sandboxes.extend(sandbox_at(&snapshot, team_no, team, (time, high), &next, live.get(&next))?);
        position = Some(next);
    }
    page.next = position;
    Ok(page)
}

fn sandbox_at(
    connection: &Connection,
    team_no: i64,
    team: TeamId,
    (time, high): (Timestamp, i64),
    id: &SandboxId,
    live: Option<&Sandbox>,
) -> Result<Option<SandboxAt>, StoreError> {
    let mut statement = connection.prepare_cached(&of_sandbox_before())?;
    let columns = Columns::of(&statement, "events");
    let mut rows = statement.query(params![team_no, id.as_str(), high])?;
    let mut earliest_after = None;
    while let Some(row) = rows.next()? {
        let event = decode(&mut Cells::new(row, &columns), team)?;
        if event.timestamp <= time {
            let recorded = Some((event.sequence, event.event_type(), event.timestamp));
            return Ok(after(&event).and_then(|presence| of_event(event, presence, recorded)));
        }
        earliest_after = Some(event);
    }
    if earliest_after.is_none() {
        // All that is kept of it is later than any event of that time.
        let sql = format!(
            "SELECT {COLUMNS} FROM events INDEXED BY events_by_sandbox
             WHERE team_no = ?1 AND sandbox_id = ?2 AND event_type < {FIRST_NAMED_CODE}
             ORDER BY sequence LIMIT 1"
        );
        let values = params![team_no, id.as_str()];
        earliest_after =
            first(connection.prepare_cached(&sql)?, values, "events", |cells| decode(cells, team))?;
    }
    if let Some(event) = earliest_after {
        return Ok(before(&event).and_then(|presence| of_event(event, presence, None)));
    }
    let Some(sandbox) = live else { return Ok(None) };
    let presence = match &sandbox.state {
        State::Paused { paused } | State::Resuming { paused, .. } if paused.paused_at <= time => {
            Presence::Paused
        }
        state if open_execution(state).is_some_and(|execution| execution.started_at <= time) => {
            Presence::Running
        }
        _ => return Ok(None),
    };
    Ok(Some(SandboxAt {
        sandbox_id: id.clone(),
        presence,
        template_id: sandbox.spec.template_id.clone(),
        execution_id: sandbox.state.execution_id(),
        metadata: sandbox.spec.metadata.clone(),
        last_event: None,
    }))
}

/// The sandbox as an event about it says; nothing if it is about something else.
fn of_event(
    event: Event,
    presence: Presence,
    last_event: Option<(u64, EventType, Timestamp)>,
) -> Option<SandboxAt> {
    let Subject::Sandbox(sandbox) = event.draft.subject else { return None };
    Some(SandboxAt {
        sandbox_id: sandbox.id,
        presence,
        template_id: sandbox.template_id,
        execution_id: sandbox.execution_id,
        metadata: sandbox.metadata,
        last_event,
    })
}

impl EventLog {
    /// How far back the team's history goes, and what runs now.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be read.
    pub async fn ledger_moment(&self, team: TeamId) -> Result<LedgerMoment, StoreError> {
        self.file().read(move |connection| moment(connection, team)).await
    }

    /// Executions that ended at `start` or later, by the events that ended them: of those with numbers behind
    /// `position` and up to `last`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn ended_executions(
        &self,
        team: TeamId,
        start: Timestamp,
        position: u64,
        last: u64,
        limit: u32,
    ) -> Result<EndedExecutions, StoreError> {
        self.file().read(move |connection| ended(connection, team, start, (position, last), limit)).await
    }

    /// The newest `limit` changes of state of one sandbox, and its row, as of one moment; `None` if the team has, and
    /// as far as is still known has had, no such sandbox.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn sandbox_history(
        &self,
        team: TeamId,
        id: &SandboxId,
        limit: u32,
    ) -> Result<Option<SandboxHistory>, StoreError> {
        let id = id.clone();
        self.file().read(move |connection| history(connection, team, &id, limit)).await
    }

    /// The team's sandboxes that were there at `time`, by id, behind `behind`: at most `limit`. Right for times later
    /// than what retention has removed.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be read.
    pub async fn sandboxes_at(
        &self,
        team: TeamId,
        time: Timestamp,
        behind: Option<SandboxId>,
        limit: u32,
    ) -> Result<SandboxesAt, StoreError> {
        self.file().read(move |connection| at(connection, team, time, behind.as_ref(), limit)).await
    }
}
