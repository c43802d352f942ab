//! The log of events: per team numbered 1, 2, 3 … without gaps.

use std::fmt::Write;

use rusqlite::{Connection, params};
use sandscope_model::{Event, EventDraft, EventType, SandboxId, TeamId, Timestamp};

use crate::row::{Cells, all, event_type_code, exists, first, integer, to_json};
use crate::{Order, Store, StoreError};

/// Which part of the log is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Only this sandbox's.
    pub sandbox_id: Option<SandboxId>,
    /// Only these types; empty means all.
    pub types: Vec<EventType>,
    /// Events to skip. Over a list that grows this skips and repeats: for compatibility only.
    pub offset: u32,
    /// Events at most.
    pub limit: u32,
    /// By number.
    pub order: Order,
}

const COLUMNS: &str =
    "sequence, id, event_type, sandbox_id, execution_id, template_id, build_id, timestamp, data";

fn decode(cells: &mut Cells<'_, '_>, team_id: TeamId) -> Result<Event, StoreError> {
    Ok(Event {
        sequence: cells.number("sequence")?,
        draft: EventDraft {
            id: cells.uuid("id")?,
            event_type: cells.event_type("event_type")?,
            sandbox_id: cells.id("sandbox_id")?,
            execution_id: cells.uuid("execution_id")?,
            template_id: cells.id("template_id")?,
            build_id: cells.uuid("build_id")?,
            timestamp: cells.time("timestamp")?,
            data: cells.json("data")?,
            team_id,
        },
    })
}

/// Appends to the log of the team and returns the event as it will be read again.
pub(crate) fn append(connection: &Connection, team_no: i64, draft: EventDraft) -> Result<Event, StoreError> {
    let sequence: i64 = connection
        .prepare_cached(
            "UPDATE teams SET last_sequence = last_sequence + 1 WHERE no = ? RETURNING last_sequence",
        )?
        .query_row([team_no], |row| row.get(0))?;
    let at = draft.timestamp.as_microsecond();
    connection
        .prepare_cached(
            "INSERT INTO events (team_no, sequence, id, event_type, sandbox_id, execution_id, template_id,
                 build_id, timestamp, data)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            team_no,
            sequence,
            draft.id.as_uuid().as_bytes(),
            event_type_code(draft.event_type),
            draft.sandbox_id.as_str(),
            draft.execution_id.as_uuid().as_bytes(),
            draft.template_id.as_str(),
            draft.build_id.as_uuid().as_bytes(),
            at,
            to_json(&draft.data)?,
        ])?;
    let timestamp = Timestamp::from_microsecond(at).unwrap_or(draft.timestamp);
    let sequence = u64::try_from(sequence).map_err(|_| StoreError::Corrupt {
        table: "teams",
        column: "last_sequence",
        row: draft.team_id.to_string(),
    })?;
    Ok(Event { sequence, draft: EventDraft { timestamp, ..draft } })
}

/// The text of a query over one team's log (`?1`), optionally of one sandbox (`?2`), with `?3` the limit and `?4` the
/// offset. With several types each is read from its own index up to the end of the page and the heads are merged:
/// a rare type must not cost a walk over the whole log.
pub(crate) fn query_sql(query: &EventQuery) -> String {
    let order = query.order.sql();
    let team = "team_no = (SELECT no FROM teams WHERE id = ?1)";
    let page = format!("ORDER BY sequence {order} LIMIT ?3 OFFSET ?4");
    let mut types = query.types.clone();
    types.sort_unstable();
    types.dedup();
    let codes: Vec<i64> = types.into_iter().map(event_type_code).collect();
    let mut sql = String::new();
    if query.sandbox_id.is_some() {
        sql = format!(
            "SELECT {COLUMNS} FROM events INDEXED BY events_by_sandbox WHERE {team} AND sandbox_id = ?2"
        );
        if !codes.is_empty() {
            let list = codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            // Writing to a String cannot fail.
            let _ = write!(sql, " AND event_type IN ({list})");
        }
        return format!("{sql} {page}");
    }
    if codes.is_empty() || codes.len() == EventType::ALL.len() {
        return format!("SELECT {COLUMNS} FROM events WHERE {team} {page}");
    }
    for code in codes {
        let union = if sql.is_empty() { "" } else { " UNION ALL " };
        let _ = write!(
            sql,
            "{union}SELECT * FROM (SELECT {COLUMNS} FROM events INDEXED BY events_by_type
                 WHERE {team} AND event_type = {code} ORDER BY sequence {order} LIMIT ?3 + ?4)"
        );
    }
    format!("SELECT * FROM ({sql}) {page}")
}

/// One page of the log.
pub(crate) fn query(
    connection: &Connection,
    team: TeamId,
    query: &EventQuery,
) -> Result<Vec<Event>, StoreError> {
    let sandbox_id = query.sandbox_id.as_ref().map(SandboxId::as_str);
    let values = params![team.as_uuid().as_bytes(), sandbox_id, query.limit, query.offset];
    all(connection.prepare_cached(&query_sql(query))?, values, "events", |cells| decode(cells, team))
}

impl Store {
    /// A page of the team's log.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn events(&self, team: TeamId, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        self.facts().read(move |connection| self::query(connection, team, &query)).await
    }

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
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM events
                 WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND sequence > ?2
                 ORDER BY sequence LIMIT ?3"
            );
            let values = params![team.as_uuid().as_bytes(), integer(after_sequence), limit];
            all(connection.prepare_cached(&sql)?, values, "events", |cells| decode(cells, team))
        };
        self.facts().read(op).await
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
        Ok(self.facts().read(op).await?.unwrap_or(0))
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
        self.facts().read(op).await
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
        self.facts().read(op).await
    }
}
