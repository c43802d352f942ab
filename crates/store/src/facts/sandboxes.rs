//! Sandboxes: their rows, single and in lists.

use std::fmt::Write;

use rusqlite::types::ToSql;
use rusqlite::{Connection, params};
use sandscope_model::ledger::open_execution;
use sandscope_model::{Sandbox, SandboxId, State, TeamId, TemplateId, Timestamp};

use crate::sqlite::row::{Cells, all, first, integer, to_json};
use crate::sqlite::writer::Tx;
use crate::{Facts, Order, StoreError};

/// What a client sees of a sandbox's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListedState {
    /// Running.
    Running,
    /// Paused, or on its way there or back.
    Paused,
}

impl ListedState {
    /// The stored names it covers, as an SQL list.
    const fn names(self) -> &'static str {
        match self {
            Self::Running => "'running'",
            Self::Paused => "'pausing', 'paused', 'resuming'",
        }
    }
}

/// Which of a team's sandboxes are wanted. Those being created or killed and those gone are never listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SandboxFilter {
    /// Only these states; empty means all that are listed.
    pub states: Vec<ListedState>,
    /// Only those with all of these labels.
    pub metadata: Vec<(String, String)>,
    /// Only those whose execution started at or after this.
    pub started_after: Option<Timestamp>,
    /// Only those of this base template.
    pub template: Option<TemplateId>,
    /// By start of the execution, then id.
    pub order: Order,
    /// Start and id of the last one already seen.
    pub after: Option<(Timestamp, SandboxId)>,
    /// Sandboxes at most.
    pub limit: u32,
}

const COLUMNS: &str = "s.id, t.id AS team_id, s.spec, s.state_data, s.generation, s.created_at, s.started_at, s.end_at, \
     s.intent_origin";

fn decode(cells: &mut Cells<'_, '_>) -> Result<Sandbox, StoreError> {
    Ok(Sandbox {
        id: cells.id("id")?,
        team_id: cells.uuid("team_id")?,
        spec: cells.json("spec")?,
        state: cells.json("state_data")?,
        generation: cells.number("generation")?,
        created_at: cells.time("created_at")?,
        started_at: cells.time("started_at")?,
        end_at: cells.time("end_at")?,
        intent_origin: cells.optional_json("intent_origin")?,
    })
}

fn killed_at(state: &State) -> Option<i64> {
    match state {
        State::Killed { killed_at, .. } => Some(killed_at.as_microsecond()),
        _ => None,
    }
}

pub(crate) fn insert(
    connection: &Connection,
    team_no: i64,
    node_no: i64,
    sandbox: &Sandbox,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO sandboxes (id, team_no, generation, state, state_data, spec, template_id, build_id,
                 created_at, started_at, end_at, killed_at, intent_origin, labels, runs, node_no)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            sandbox.id.as_str(),
            team_no,
            integer(sandbox.generation),
            sandbox.state.name().as_str(),
            to_json(&sandbox.state)?,
            to_json(&sandbox.spec)?,
            sandbox.spec.template_id.as_str(),
            sandbox.spec.build_id.as_uuid().as_bytes(),
            sandbox.created_at.as_microsecond(),
            sandbox.started_at.as_microsecond(),
            sandbox.end_at.as_microsecond(),
            killed_at(&sandbox.state),
            sandbox.intent_origin.as_ref().map(to_json).transpose()?,
            to_json(&sandbox.spec.metadata)?,
            open_execution(&sandbox.state).is_some(),
            node_no,
        ])?;
    Ok(())
}

/// Writes the new values if the row is still at `sandbox.generation`, which goes up by one. What never changes over a
/// sandbox's life (team, template, build, labels, creation) is not written again: each such column costs its indexes.
pub(crate) fn update(connection: &Connection, sandbox: &Sandbox) -> Result<(), StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE sandboxes SET generation = generation + 1, state = ?3, state_data = ?4, spec = ?5,
                 started_at = ?6, end_at = ?7, killed_at = ?8, intent_origin = ?9, runs = ?10
             WHERE id = ?1 AND generation = ?2",
        )?
        .execute(params![
            sandbox.id.as_str(),
            integer(sandbox.generation),
            sandbox.state.name().as_str(),
            to_json(&sandbox.state)?,
            to_json(&sandbox.spec)?,
            sandbox.started_at.as_microsecond(),
            sandbox.end_at.as_microsecond(),
            killed_at(&sandbox.state),
            sandbox.intent_origin.as_ref().map(to_json).transpose()?,
            open_execution(&sandbox.state).is_some(),
        ])?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// The part of a list query that says which sandboxes, with the values of its parameters.
pub(crate) struct Condition {
    pub(crate) sql: String,
    pub(crate) values: Vec<Box<dyn ToSql>>,
}

impl Condition {
    fn new(team: TeamId, filter: &SandboxFilter) -> Self {
        let mut condition = Self {
            // The second term lets the planner use the indexes that leave the dead out.
            sql: "s.team_no = (SELECT no FROM teams WHERE id = ?) AND s.state <> 'killed'".to_owned(),
            values: vec![Box::new(*team.as_uuid().as_bytes())],
        };
        let mut states = filter.states.clone();
        if states.is_empty() {
            states = vec![ListedState::Running, ListedState::Paused];
        }
        let names = states.into_iter().map(ListedState::names).collect::<Vec<_>>().join(", ");
        // Writing to a String cannot fail.
        let _ = write!(condition.sql, " AND s.state IN ({names})");
        if let Some(template) = &filter.template {
            condition.and("s.template_id = ?", template.as_str().to_owned());
        }
        if let Some(at) = filter.started_after {
            condition.and("s.started_at >= ?", at.as_microsecond());
        }
        for (key, value) in &filter.metadata {
            condition
                .and("EXISTS (SELECT 1 FROM json_each(s.labels) WHERE key = ? AND value = ?)", key.clone());
            condition.values.push(Box::new(value.clone()));
        }
        condition
    }

    fn and(&mut self, sql: &str, value: impl ToSql + 'static) {
        let _ = write!(self.sql, " AND {sql}");
        self.values.push(Box::new(value));
    }
}

/// The query behind [`Facts::sandboxes`].
pub(crate) fn list_query(team: TeamId, filter: &SandboxFilter) -> Condition {
    let mut query = Condition::new(team, filter);
    if let Some((at, id)) = &filter.after {
        query.and(&format!("(s.started_at, s.id) {} (?, ?)", filter.order.after()), at.as_microsecond());
        query.values.push(Box::new(id.as_str().to_owned()));
    }
    let order = filter.order.sql();
    query.sql = format!(
        "SELECT {COLUMNS} FROM sandboxes s CROSS JOIN teams t ON t.no = s.team_no WHERE {}
         ORDER BY s.started_at {order}, s.id {order} LIMIT ?",
        query.sql
    );
    query.values.push(Box::new(filter.limit));
    query
}

/// A sandbox in whatever state.
pub(crate) fn by_id(connection: &Connection, id: &SandboxId) -> Result<Option<Sandbox>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM sandboxes s JOIN teams t ON t.no = s.team_no WHERE s.id = ?");
    first(connection.prepare_cached(&sql)?, [id.as_str()], "sandboxes", decode)
}

/// The team's sandboxes that are not gone.
pub(crate) fn live_of_team(connection: &Connection, team_no: i64) -> Result<Vec<Sandbox>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sandboxes s JOIN teams t ON t.no = s.team_no
         WHERE s.team_no = ? AND s.state <> 'killed'"
    );
    all(connection.prepare_cached(&sql)?, [team_no], "sandboxes", decode)
}

impl Facts {
    /// Removes a sandbox that failed to be created before any client had an answer, and the idempotency key that named it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn drop_sandbox(&self, id: &SandboxId) -> Result<(), StoreError> {
        let id = id.clone();
        let op = move |tx: &mut Tx<'_>| {
            tx.prepare_cached("DELETE FROM sandboxes WHERE id = ? AND state = 'creating'")?
                .execute([id.as_str()])?;
            tx.prepare_cached(
                "DELETE FROM idempotency_keys
                 WHERE sandbox_id = ?1 AND NOT EXISTS (SELECT 1 FROM sandboxes WHERE id = ?1)",
            )?
            .execute([id.as_str()])?;
            Ok(())
        };
        self.file().write_making_room(op).await
    }

    /// A sandbox in whatever state, until retention removes it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn sandbox(&self, id: &SandboxId) -> Result<Option<Sandbox>, StoreError> {
        let id = id.clone();
        self.file().read(move |connection| by_id(connection, &id)).await
    }

    /// Every team's sandboxes of this node that are not gone, oldest first: what a restart has to look after.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn live_sandboxes(&self) -> Result<Vec<Sandbox>, StoreError> {
        let node_no = self.node_no;
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM sandboxes s JOIN teams t ON t.no = s.team_no
                 WHERE s.state <> 'killed' AND s.node_no = ? ORDER BY s.created_at, s.id"
            );
            all(connection.prepare_cached(&sql)?, [node_no], "sandboxes", decode)
        };
        self.file().read(op).await
    }

    /// A page of the team's sandboxes.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn sandboxes(&self, team: TeamId, filter: SandboxFilter) -> Result<Vec<Sandbox>, StoreError> {
        let op = move |connection: &Connection| {
            let Condition { sql, values } = list_query(team, &filter);
            let values = rusqlite::params_from_iter(values);
            all(connection.prepare_cached(&sql)?, values, "sandboxes", decode)
        };
        self.file().read(op).await
    }

    /// How many of the team's sandboxes run and pass the filter; its states, position and limit do not matter.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn count_running(&self, team: TeamId, filter: SandboxFilter) -> Result<u64, StoreError> {
        let op = move |connection: &Connection| {
            let filter = SandboxFilter { states: vec![ListedState::Running], ..filter };
            let Condition { sql, values } = Condition::new(team, &filter);
            let sql = format!("SELECT COUNT(*) AS count FROM sandboxes s WHERE {sql}");
            let values = rusqlite::params_from_iter(values);
            first(connection.prepare_cached(&sql)?, values, "sandboxes", |cells| cells.number("count"))
        };
        Ok(self.file().read(op).await?.unwrap_or(0))
    }
}
