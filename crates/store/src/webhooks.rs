//! Webhook registrations. Each row carries its cursor; see [`deliveries`](crate::deliveries).

use rusqlite::{Connection, params};
use sandscope_model::{Secret, TeamId, Webhook, WebhookId};

use crate::row::{Cells, all, first, to_json};
use crate::teams::team_no;
use crate::writer::Tx;
use crate::{Store, StoreError};

const COLUMNS: &str = "w.id, t.id, w.name, w.url, w.events, w.enabled, w.signature_secret, w.created_at";

fn decode(cells: &mut Cells<'_, '_>) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        id: cells.uuid("id")?,
        team_id: cells.uuid("team_no")?,
        name: cells.plain("name")?,
        url: cells.plain("url")?,
        events: cells.json("events")?,
        enabled: cells.plain("enabled")?,
        signature_secret: Secret::new(cells.plain("signature_secret")?),
        created_at: cells.time("created_at")?,
    })
}

fn insert(tx: &mut Tx<'_>, webhook: &Webhook, max: u32) -> Result<bool, StoreError> {
    let team_no = team_no(tx, webhook.team_id)?;
    let n: u32 = tx
        .prepare_cached("SELECT COUNT(*) FROM webhooks WHERE team_no = ?")?
        .query_row([team_no], |row| row.get(0))?;
    if n >= max {
        return Ok(false);
    }
    tx.prepare_cached(
        "INSERT INTO webhooks (id, team_no, name, url, events, enabled, signature_secret, created_at, cursor)
         SELECT ?, no, ?, ?, ?, ?, ?, ?, last_sequence FROM teams WHERE no = ?",
    )?
    .execute(params![
        webhook.id.as_uuid().as_bytes(),
        webhook.name,
        webhook.url,
        to_json(&webhook.events)?,
        webhook.enabled,
        webhook.signature_secret.expose(),
        webhook.created_at.as_microsecond(),
        team_no,
    ])?;
    tx.webhooks_changed();
    Ok(true)
}

fn update(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<bool, StoreError> {
    let changed = tx
        .prepare_cached(
            "UPDATE webhooks SET name = ?3, url = ?4, events = ?5, enabled = ?6, signature_secret = ?7,
                 cursor = CASE WHEN ?6 AND NOT enabled THEN t.last_sequence ELSE cursor END
             FROM teams t WHERE webhooks.id = ?2 AND t.no = webhooks.team_no AND t.id = ?1",
        )?
        .execute(params![
            webhook.team_id.as_uuid().as_bytes(),
            webhook.id.as_uuid().as_bytes(),
            webhook.name,
            webhook.url,
            to_json(&webhook.events)?,
            webhook.enabled,
            webhook.signature_secret.expose(),
        ])?;
    if changed == 1 {
        tx.webhooks_changed();
    }
    Ok(changed == 1)
}

fn delete(tx: &mut Tx<'_>, team: TeamId, id: WebhookId) -> Result<bool, StoreError> {
    let deleted = tx
        .prepare_cached(
            "DELETE FROM webhooks WHERE id = ?2 AND team_no = (SELECT no FROM teams WHERE id = ?1)",
        )?
        .execute(params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes()])?;
    if deleted == 1 {
        tx.prepare_cached("DELETE FROM exceptions WHERE webhook_id = ?")?
            .execute([id.as_uuid().as_bytes()])?;
        tx.webhooks_changed();
    }
    Ok(deleted == 1)
}

impl Store {
    /// Registers a webhook; `false` if the team already has `max`. Its cursor starts at the end of the log: what was
    /// committed before is not delivered.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be written.
    pub async fn insert_webhook(&self, webhook: Webhook, max: u32) -> Result<bool, StoreError> {
        self.facts().write(move |tx| insert(tx, &webhook, max)).await
    }

    /// The team's webhooks, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhooks(&self, team: TeamId) -> Result<Vec<Webhook>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM teams t JOIN webhooks w ON w.team_no = t.no WHERE t.id = ?
                 ORDER BY w.created_at, w.id"
            );
            all(connection.prepare_cached(&sql)?, [team.as_uuid().as_bytes()], "webhooks", decode)
        };
        self.facts().read(op).await
    }

    /// Every team's webhooks.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn all_webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let op = |connection: &Connection| {
            let sql = format!("SELECT {COLUMNS} FROM webhooks w JOIN teams t ON t.no = w.team_no");
            all(connection.prepare_cached(&sql)?, [], "webhooks", decode)
        };
        self.facts().read(op).await
    }

    /// A webhook of the team.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhook(&self, team: TeamId, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM webhooks w JOIN teams t ON t.no = w.team_no WHERE t.id = ? AND w.id = ?"
            );
            let values = params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes()];
            first(connection.prepare_cached(&sql)?, values, "webhooks", decode)
        };
        self.facts().read(op).await
    }

    /// Stores every field of `webhook` but its `created_at`; `false` if its team has no such webhook. Enabling one
    /// that was disabled moves its cursor to the end of the log.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn update_webhook(&self, webhook: Webhook) -> Result<bool, StoreError> {
        self.facts().write(move |tx| update(tx, &webhook)).await
    }

    /// Deletes a webhook with its cursor and exceptions; `false` if the team has no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn delete_webhook(&self, team: TeamId, id: WebhookId) -> Result<bool, StoreError> {
        self.facts().write(move |tx| delete(tx, team, id)).await
    }
}
