//! Teams.

use rusqlite::{Connection, OptionalExtension, params};
use sandscope_model::{Team, TeamId, TeamLimits};

use crate::facts::keys::{NewApiKey, insert_key};
use crate::sqlite::row::{Cells, all, first, only};
use crate::{Facts, StoreError};

/// What [`Facts::ensure_first_team`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstTeam {
    /// There was none: team and key were made.
    Created(Team),
    /// There are teams; this is the oldest. Nothing was made.
    Existing(Team),
}

pub(crate) const TEAM_COLUMNS: &str = "t.id, t.name, t.slug, t.max_concurrent_sandboxes, t.max_timeout_s, \
     t.event_retention_days, t.max_webhooks, t.created_at";

pub(crate) fn decode_team(cells: &mut Cells<'_, '_>) -> Result<Team, StoreError> {
    Ok(Team {
        id: cells.uuid("id")?,
        name: cells.plain("name")?,
        slug: cells.plain("slug")?,
        limits: TeamLimits {
            max_concurrent_sandboxes: cells.number("max_concurrent_sandboxes")?,
            max_timeout_s: cells.number("max_timeout_s")?,
            event_retention_days: cells.number("event_retention_days")?,
            max_webhooks: cells.number("max_webhooks")?,
        },
        created_at: cells.time("created_at")?,
    })
}

/// The team's internal key.
pub(crate) fn team_no(connection: &Connection, id: TeamId) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT no FROM teams WHERE id = ?")?;
    statement.query_row([id.as_uuid().as_bytes()], only).optional()?.ok_or(StoreError::UnknownTeam)
}

/// Inserts `team` unless its id or slug is taken.
fn insert_team(connection: &Connection, team: &Team) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO teams (id, name, slug, max_concurrent_sandboxes, max_timeout_s, event_retention_days,
             max_webhooks, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )?;
    let TeamLimits { max_concurrent_sandboxes, max_timeout_s, event_retention_days, max_webhooks } =
        team.limits;
    let inserted = statement.execute(params![
        team.id.as_uuid().as_bytes(),
        team.name,
        team.slug,
        max_concurrent_sandboxes,
        max_timeout_s,
        event_retention_days,
        max_webhooks,
        team.created_at.as_microsecond(),
    ])?;
    Ok(inserted == 1)
}

impl Facts {
    /// Makes `team` with `key` if there is no team at all.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn ensure_first_team(&self, team: Team, key: NewApiKey) -> Result<FirstTeam, StoreError> {
        let op = move |tx: &mut crate::sqlite::writer::Tx<'_>| {
            let sql = format!("SELECT {TEAM_COLUMNS} FROM teams t ORDER BY t.no LIMIT 1");
            if let Some(existing) = first(tx.prepare_cached(&sql)?, [], "teams", decode_team)? {
                return Ok(FirstTeam::Existing(existing));
            }
            insert_team(tx, &team)?;
            insert_key(tx, &key)?;
            Ok(FirstTeam::Created(team))
        };
        self.file().write(op).await
    }

    /// Makes a team; `false` if its id or slug is taken.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn create_team(&self, team: Team) -> Result<bool, StoreError> {
        self.file().write(move |tx| insert_team(tx, &team)).await
    }

    /// A team.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn team(&self, id: TeamId) -> Result<Option<Team>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!("SELECT {TEAM_COLUMNS} FROM teams t WHERE t.id = ?");
            first(connection.prepare_cached(&sql)?, [id.as_uuid().as_bytes()], "teams", decode_team)
        };
        self.file().read(op).await
    }

    /// Every team, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn teams(&self) -> Result<Vec<Team>, StoreError> {
        let op = |connection: &Connection| {
            let sql = format!("SELECT {TEAM_COLUMNS} FROM teams t ORDER BY t.no");
            all(connection.prepare_cached(&sql)?, [], "teams", decode_team)
        };
        self.file().read(op).await
    }

    /// Changes what a team may use; `false` if there is no such team.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn set_team_limits(&self, id: TeamId, limits: TeamLimits) -> Result<bool, StoreError> {
        let op = move |tx: &mut crate::sqlite::writer::Tx<'_>| {
            let mut statement = tx.prepare_cached(
                "UPDATE teams SET max_concurrent_sandboxes = ?, max_timeout_s = ?, event_retention_days = ?,
                     max_webhooks = ? WHERE id = ?",
            )?;
            let changed = statement.execute(params![
                limits.max_concurrent_sandboxes,
                limits.max_timeout_s,
                limits.event_retention_days,
                limits.max_webhooks,
                id.as_uuid().as_bytes(),
            ])?;
            Ok(changed == 1)
        };
        self.file().write(op).await
    }
}
