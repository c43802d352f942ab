//! The log of events: per team numbered 1, 2, 3 … without gaps.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use sandscope_model::{
    Event, EventDraft, EventType, Fact, KillReason, Origin, SandboxId, SandboxRef, Subject, TeamId,
    TemplateId, Timestamp,
};

use crate::facts::forms::event::{EventForm, VERSION};
use crate::sqlite::row::{Cells, Columns, all, exists, first, integer, to_json};
use crate::{EventLog, StoreError};

/// Events of which the earliest and the latest time are kept together.
pub(crate) const BLOCK: i64 = 4096;

pub(crate) const COLUMNS: &str =
    "sequence, id, event_type, sandbox_id, execution_id, template_id, build_id, timestamp, form, data";

pub(crate) fn decode(cells: &mut Cells<'_, '_>, team_id: TeamId) -> Result<Event, StoreError> {
    let (sequence, id) = (cells.number("sequence")?, cells.uuid("id")?);
    let kind = cells.event_type("event_type")?;
    let sandbox = sandbox(cells)?;
    let timestamp = cells.time("timestamp")?;
    let (subject, origin, fact) = fact(cells, kind, sandbox)?;
    Ok(Event { sequence, draft: EventDraft { id, team_id, timestamp, subject, origin, fact } })
}

/// The sandbox in the columns of an event, or of what keeps one: empty where there is none. Its labels are in `data`.
pub(crate) fn sandbox(cells: &mut Cells<'_, '_>) -> Result<Option<SandboxRef>, StoreError> {
    let id: String = cells.plain("sandbox_id")?;
    if id.is_empty() {
        return Ok(None);
    }
    Ok(Some(SandboxRef {
        id: id.parse().map_err(|_| cells.corrupt("sandbox_id"))?,
        execution_id: cells.uuid("execution_id")?,
        template_id: cells.id("template_id")?,
        build_id: cells.uuid("build_id")?,
        metadata: BTreeMap::new(),
    }))
}

/// What the columns `form` and `data` say of an event of `kind`.
pub(crate) fn fact(
    cells: &mut Cells<'_, '_>,
    kind: EventType,
    sandbox: Option<SandboxRef>,
) -> Result<(Subject, Option<Origin>, Fact), StoreError> {
    let _version =
        cells.mapped("form", |form: Option<u8>| Some(form.unwrap_or(0)).filter(|form| *form <= VERSION))?;
    let form: EventForm<'_> = cells.json("data")?;
    form.into_fact(kind, sandbox).ok_or_else(|| cells.corrupt("data"))
}

/// The values of the columns of an event's sandbox.
pub(crate) struct SandboxColumns<'a> {
    pub(crate) id: &'a str,
    pub(crate) execution_id: &'a [u8],
    pub(crate) template_id: &'a str,
    pub(crate) build_id: &'a [u8],
}

impl<'a> SandboxColumns<'a> {
    pub(crate) fn of(draft: &'a EventDraft) -> Self {
        let sandbox = draft.sandbox();
        Self {
            id: sandbox.map_or("", |sandbox| sandbox.id.as_str()),
            execution_id: sandbox.map_or(&[], |sandbox| sandbox.execution_id.as_uuid().as_bytes()),
            template_id: draft.template_id().map_or("", TemplateId::as_str),
            build_id: sandbox.map_or(&[], |sandbox| sandbox.build_id.as_uuid().as_bytes()),
        }
    }
}

/// Appends to the log of the team and returns the event as it will be read again. Its id sorts behind those before it.
/// If the wall clock was set back its time is that of the event before it: a log's times never go back.
pub(crate) fn append(connection: &Connection, team_no: i64, draft: EventDraft) -> Result<Event, StoreError> {
    let mut draft = draft;
    let (sequence, cut_at): (i64, Option<i64>) = connection
        .prepare_cached(
            "UPDATE teams SET last_sequence = last_sequence + 1 WHERE no = ? RETURNING last_sequence, cut_at",
        )?
        .query_row([team_no], |row| Ok((row.get("last_sequence")?, row.get("cut_at")?)))?;
    let statement = connection
        .prepare_cached("SELECT id, timestamp FROM events WHERE team_no = ? AND sequence = ? - 1")?;
    let read = |cells: &mut Cells<'_, '_>| Ok((cells.uuid("id")?, cells.time("timestamp")?));
    let last = first(statement, [team_no, sequence], "events", read)?;
    let latest = last.map(|(_, at)| at.as_microsecond()).max(cut_at).unwrap_or(i64::MIN);
    let at = draft.timestamp.as_microsecond().max(latest);
    let timestamp = Timestamp::from_microsecond(at).unwrap_or(draft.timestamp);
    draft.id = draft.id.ordered(timestamp, last.map(|(id, _)| id));
    let sandbox = SandboxColumns::of(&draft);
    connection
        .prepare_cached(
            "INSERT INTO events (team_no, sequence, id, event_type, sandbox_id, execution_id, template_id,
                 build_id, timestamp, data, kill_reason, form, subject, change)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            team_no,
            sequence,
            draft.id.as_uuid().as_bytes(),
            draft.event_type().code(),
            sandbox.id,
            sandbox.execution_id,
            sandbox.template_id,
            sandbox.build_id,
            at,
            to_json(&EventForm::of(&draft))?,
            draft.kill_reason().map(KillReason::as_str),
            VERSION,
            subject(&draft.subject),
            draft.fact.concurrency_change(),
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO event_blocks (team_no, block, min_at, max_at) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT DO UPDATE SET min_at = MIN(min_at, ?3), max_at = MAX(max_at, ?3)",
        )?
        .execute(params![team_no, sequence / BLOCK, at])?;
    let sequence = u64::try_from(sequence).map_err(|_| StoreError::Corrupt {
        table: "teams",
        column: "last_sequence",
        row: draft.team_id.to_string(),
    })?;
    Ok(Event { sequence, draft: EventDraft { timestamp, ..draft } })
}

/// The column that names what an event is about; a sandbox is in its own.
fn subject(subject: &Subject) -> Option<String> {
    match subject {
        Subject::Sandbox(_) => None,
        Subject::Template(_) | Subject::Label(..) | Subject::Team | Subject::Webhook(_) => {
            Some(subject.key().to_string())
        }
    }
}

/// Labels that are read at once, in bytes. Events are small but for these, and some were made before there was a bound.
pub(crate) const MAX_BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// Bytes of an event's labels.
pub(crate) fn n_label_bytes(event: &Event) -> usize {
    event.metadata().iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Events that follow each other in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Whether there may be more: it ended at a bound in number or in bytes.
    pub more: bool,
}

impl EventLog {
    /// The events that follow `after_sequence` in the team's log, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn events_after(
        &self,
        team: TeamId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        Ok(self.stretch_after(team, after_sequence, limit).await?.events)
    }

    /// The same, and whether there may be more.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn stretch_after(
        &self,
        team: TeamId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Stretch, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM events
                 WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND sequence > ?2
                 ORDER BY sequence LIMIT ?3"
            );
            let values = params![team.as_uuid().as_bytes(), integer(after_sequence), limit];
            let mut n_bytes = 0;
            let mut statement = connection.prepare_cached(&sql)?;
            let columns = Columns::of(&statement, "events");
            let mut rows = statement.query(values)?;
            let mut events = Vec::new();
            while n_bytes < MAX_BYTES_AT_ONCE
                && let Some(row) = rows.next()?
            {
                let event = decode(&mut Cells::new(row, &columns), team)?;
                n_bytes += n_label_bytes(&event);
                events.push(event);
            }
            let more = events.len() as u64 >= u64::from(limit) || n_bytes >= MAX_BYTES_AT_ONCE;
            Ok(Stretch { events, more })
        };
        self.file().read(op).await
    }

    /// The number of the team's newest event; 0 if it has none or does not exist.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn last_sequence(&self, team: TeamId) -> Result<u64, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached("SELECT last_sequence FROM teams WHERE id = ?")?;
            first(statement, [team.as_uuid().as_bytes()], "teams", |cells| cells.number("last_sequence"))
        };
        Ok(self.file().read(op).await?.unwrap_or(0))
    }

    /// The number of every team's newest event; 0 for those that have none.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn ends(&self) -> Result<BTreeMap<TeamId, u64>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached("SELECT id, last_sequence FROM teams")?;
            all(statement, [], "teams", |cells| Ok((cells.uuid("id")?, cells.number("last_sequence")?)))
        };
        Ok(self.file().read(op).await?.into_iter().collect())
    }

    /// One event of the team's log.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn event(&self, team: TeamId, sequence: u64) -> Result<Option<Event>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM events
                 WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND sequence = ?2"
            );
            let values = params![team.as_uuid().as_bytes(), integer(sequence)];
            first(connection.prepare_cached(&sql)?, values, "events", |cells| decode(cells, team))
        };
        self.file().read(op).await
    }

    /// The sandbox's newest event of a type.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn newest_event(
        &self,
        team: TeamId,
        id: &SandboxId,
        event_type: EventType,
    ) -> Result<Option<Event>, StoreError> {
        let id = id.clone();
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM events INDEXED BY events_by_sandbox
                 WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND sandbox_id = ?2 AND event_type = ?3
                 ORDER BY sequence DESC LIMIT 1"
            );
            let values = params![team.as_uuid().as_bytes(), id.as_str(), event_type.code()];
            first(connection.prepare_cached(&sql)?, values, "events", |cells| decode(cells, team))
        };
        self.file().read(op).await
    }

    /// Whether the team has, or has had, this sandbox: its row (in whatever state) or one of its events exists.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn knows_sandbox(&self, team: TeamId, id: &SandboxId) -> Result<bool, StoreError> {
        let id = id.clone();
        let op = move |connection: &Connection| {
            exists(
                connection,
                "SELECT 1 FROM sandboxes
                 WHERE id = ?2 AND team_no = (SELECT no FROM teams WHERE id = ?1)
                 UNION ALL
                 SELECT 1 FROM events
                 WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND sandbox_id = ?2
                 LIMIT 1",
                params![team.as_uuid().as_bytes(), id.as_str()],
            )
        };
        self.file().read(op).await
    }
}
