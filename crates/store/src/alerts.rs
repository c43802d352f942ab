//! Alerts that fire: each is told once, however often the server is restarted.
//!
//! An alert is a row while it fires. Row and event come and go in one transaction: whoever finds the row there already
//! (or gone already) tells nothing.

use std::sync::Arc;

use rusqlite::{Connection, params};
use sandscope_model::{Event, EventDraft, SandboxId, TeamId, Timestamp};

use crate::row::all;
use crate::teams::team_no;
use crate::writer::Tx;
use crate::{Store, StoreError, events};

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiringAlert {
    /// Of which sandbox.
    pub sandbox_id: SandboxId,
    /// Whose that is.
    pub team_id: TeamId,
    /// The rule's name.
    pub rule: String,
    /// Since when.
    pub since: Timestamp,
}

fn tell(tx: &mut Tx<'_>, no: i64, draft: EventDraft) -> Result<Event, StoreError> {
    let event = events::append(tx, no, draft)?;
    tx.publish(Arc::new(event.clone()));
    Ok(event)
}

fn list(connection: &Connection, team: Option<TeamId>) -> Result<Vec<FiringAlert>, StoreError> {
    let statement = connection.prepare_cached(
        "SELECT a.sandbox_id, t.id, a.rule, a.since FROM alerts a JOIN teams t ON t.no = a.team_no
         WHERE ?1 IS NULL OR t.id = ?1 ORDER BY a.since, a.sandbox_id, a.rule",
    )?;
    let team = team.map(|team| team.as_uuid().as_bytes().to_vec());
    all(statement, params![team], "alerts", |cells| {
        Ok(FiringAlert {
            sandbox_id: cells.id("sandbox_id")?,
            team_id: cells.uuid("team")?,
            rule: cells.plain("rule")?,
            since: cells.time("since")?,
        })
    })
}

impl Store {
    /// Notes that an alert fires, and tells it by `draft`. `None` if it fires already: nothing was told.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. Nothing has changed then.
    pub async fn fire_alert(
        &self,
        alert: FiringAlert,
        draft: EventDraft,
    ) -> Result<Option<Event>, StoreError> {
        let op = move |tx: &mut Tx<'_>| {
            let no = team_no(tx, alert.team_id)?;
            let n = tx
                .prepare_cached(
                    "INSERT OR IGNORE INTO alerts (sandbox_id, rule, team_no, since) VALUES (?, ?, ?, ?)",
                )?
                .execute(params![alert.sandbox_id.as_str(), alert.rule, no, alert.since.as_microsecond()])?;
            if n == 0 { Ok(None) } else { tell(tx, no, draft).map(Some) }
        };
        self.facts().write(op).await
    }

    /// Notes that an alert fires no more, and tells it by `draft`. `None` if it did not fire: nothing was told.
    ///
    /// # Errors
    /// As [`fire_alert`](Self::fire_alert).
    pub async fn resolve_alert(&self, rule: &str, draft: EventDraft) -> Result<Option<Event>, StoreError> {
        let rule = rule.to_owned();
        let op = move |tx: &mut Tx<'_>| {
            let no = team_no(tx, draft.team_id)?;
            let n = tx
                .prepare_cached("DELETE FROM alerts WHERE sandbox_id = ? AND rule = ?")?
                .execute(params![draft.sandbox_id.as_str(), rule])?;
            if n == 0 { Ok(None) } else { tell(tx, no, draft).map(Some) }
        };
        self.facts().write(op).await
    }

    /// The alerts that fire, of one team or of all, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn firing_alerts(&self, team: Option<TeamId>) -> Result<Vec<FiringAlert>, StoreError> {
        self.facts().read(move |connection| list(connection, team)).await
    }
}
