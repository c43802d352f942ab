//! Webhook registrations. Each row carries its cursor; see [`deliveries`](crate::facts::deliveries).

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use sandscope_model::{RetiredSecret, SandboxId, Secret, TeamId, Webhook, WebhookHealth, WebhookId};
use serde::{Deserialize, Serialize};

use crate::facts::deliveries::health;
use crate::facts::forms::health::HealthForm;
use crate::facts::forms::kind::KindsForm;
use crate::facts::seal::{self, Sealer};
use crate::facts::teams::team_no;
use crate::sqlite::row::{Cells, all, first, integer, only, to_json};
use crate::sqlite::writer::Tx;
use crate::{Deliveries, StoreError};

/// What became of a change that was made from what was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// It is stored.
    Done,
    /// Somebody was faster; the webhook as it is now.
    Changed(Box<Webhook>),
    /// There is no such webhook any more.
    Gone,
}

const COLUMNS: &str = "w.id, t.id AS team_id, w.name, w.url, w.events, w.enabled, w.signature_secret, w.secrets, w.options, w.created_at";

/// What is sealed of a webhook.
#[derive(Serialize, Deserialize)]
struct Secrets {
    signature: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<RetiredSecret>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Secret>,
}

impl Secrets {
    fn seal(webhook: &Webhook, sealer: Option<&Sealer>) -> Result<Vec<u8>, StoreError> {
        let secrets = Self {
            signature: webhook.signature_secret.clone(),
            previous: webhook.previous_secret.clone(),
            headers: webhook.headers.clone(),
        };
        seal::seal(sealer, webhook.id.as_uuid().as_bytes(), to_json(&secrets)?.into_bytes())
    }

    fn open(id: WebhookId, stored: &[u8], sealer: Option<&Sealer>) -> Result<Self, StoreError> {
        let plain = seal::open(sealer, id.as_uuid().as_bytes(), stored)?;
        serde_json::from_slice(&plain).map_err(|_| StoreError::Corrupt {
            table: "webhooks",
            column: "secrets",
            row: id.to_string(),
        })
    }
}

fn decode(cells: &mut Cells<'_, '_>, sealer: Option<&Sealer>) -> Result<Webhook, StoreError> {
    let id: WebhookId = cells.uuid("id")?;
    let team_id = cells.uuid("team_id")?;
    let (name, url) = (cells.plain("name")?, cells.plain("url")?);
    let events = cells.json("events").map(KindsForm::into_kinds)?;
    let enabled = cells.plain("enabled")?;
    let plain: String = cells.plain("signature_secret")?;
    let secrets = match cells.plain::<Option<Vec<u8>>>("secrets")? {
        Some(stored) => Secrets::open(id, &stored, sealer)?,
        None => Secrets { signature: Secret::new(plain), previous: None, headers: BTreeMap::new() },
    };
    Ok(Webhook {
        id,
        team_id,
        name,
        url,
        events,
        enabled,
        signature_secret: secrets.signature,
        previous_secret: secrets.previous,
        headers: secrets.headers,
        options: cells.json("options")?,
        created_at: cells.time("created_at")?,
    })
}

pub(crate) fn insert(
    tx: &mut Tx<'_>,
    webhook: &Webhook,
    max: u32,
    sealer: Option<&Sealer>,
) -> Result<bool, StoreError> {
    let team_no = team_no(tx, webhook.team_id)?;
    // A sandbox's own webhooks come and go with it and are bounded by the request that makes it.
    if webhook.options.sandbox_id.is_none() {
        let n: u32 = tx
            .prepare_cached("SELECT COUNT(*) FROM webhooks WHERE team_no = ? AND sandbox_id IS NULL")?
            .query_row([team_no], only)?;
        if n >= max {
            return Ok(false);
        }
    }
    tx.prepare_cached(
        "INSERT INTO webhooks (id, team_no, name, url, events, enabled, signature_secret, secrets, options,
             sandbox_id, created_at, cursor)
         SELECT ?, no, ?, ?, ?, ?, '', ?, ?, ?, ?, last_sequence FROM teams WHERE no = ?",
    )?
    .execute(params![
        webhook.id.as_uuid().as_bytes(),
        webhook.name,
        webhook.url,
        to_json(&KindsForm::of(&webhook.events))?,
        webhook.enabled,
        Secrets::seal(webhook, sealer)?,
        to_json(&webhook.options)?,
        webhook.options.sandbox_id.as_ref().map(|id| id.as_str().to_owned()),
        webhook.created_at.as_microsecond(),
        team_no,
    ])?;
    tx.webhooks_changed();
    Ok(true)
}

/// Registers a sandbox's own webhooks from its first event on; one that has any keeps them.
fn insert_of_sandbox(
    tx: &mut Tx<'_>,
    sandbox_id: &SandboxId,
    webhooks: &[Webhook],
    sealer: Option<&Sealer>,
) -> Result<(), StoreError> {
    if tx.prepare_cached("SELECT 1 FROM webhooks WHERE sandbox_id = ?")?.exists([sandbox_id.as_str()])? {
        return Ok(());
    }
    for webhook in webhooks {
        insert(tx, webhook, u32::MAX, sealer)?;
        tx.prepare_cached(
            "UPDATE webhooks SET cursor = COALESCE((
                 SELECT MIN(sequence) - 1 FROM events INDEXED BY events_by_sandbox
                 WHERE events.team_no = webhooks.team_no AND events.sandbox_id = ?2
             ), cursor) WHERE id = ?1",
        )?
        .execute(params![webhook.id.as_uuid().as_bytes(), sandbox_id.as_str()])?;
    }
    Ok(())
}

fn find(
    connection: &Connection,
    team: TeamId,
    id: WebhookId,
    sealer: Option<&Sealer>,
) -> Result<Option<Webhook>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM webhooks w JOIN teams t ON t.no = w.team_no WHERE t.id = ? AND w.id = ?"
    );
    let values = params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes()];
    first(connection.prepare_cached(&sql)?, values, "webhooks", |cells| decode(cells, sealer))
}

fn update(tx: &mut Tx<'_>, webhook: &Webhook, sealer: Option<&Sealer>) -> Result<bool, StoreError> {
    let id = webhook.id.as_uuid().as_bytes();
    let found: Option<(bool, i64, i64)> = tx
        .prepare_cached(
            "SELECT w.enabled, w.cursor, t.last_sequence FROM webhooks w JOIN teams t ON t.no = w.team_no
             WHERE w.id = ? AND t.id = ?",
        )?
        .query_row(params![id, webhook.team_id.as_uuid().as_bytes()], |row| {
            Ok((row.get("enabled")?, row.get("cursor")?, row.get("last_sequence")?))
        })
        .optional()?;
    let Some((was_enabled, cursor, last)) = found else { return Ok(false) };
    tx.prepare_cached(
        "UPDATE webhooks SET name = ?2, url = ?3, events = ?4, enabled = ?5, signature_secret = '', secrets = ?6,
             options = ?7, sandbox_id = ?8 WHERE id = ?1",
    )?
    .execute(params![
        id,
        webhook.name,
        webhook.url,
        to_json(&KindsForm::of(&webhook.events))?,
        webhook.enabled,
        Secrets::seal(webhook, sealer)?,
        to_json(&webhook.options)?,
        webhook.options.sandbox_id.as_ref().map(|id| id.as_str().to_owned()),
    ])?;
    if webhook.enabled && !was_enabled {
        enable(tx, id, cursor, last)?;
    }
    tx.webhooks_changed();
    Ok(true)
}

/// Starts a disabled webhook at the end of the log, remembering what that passes over.
pub(crate) fn enable(tx: &Tx<'_>, id: &[u8; 16], cursor: i64, last: i64) -> Result<(), StoreError> {
    if last > cursor {
        tx.prepare_cached("INSERT OR REPLACE INTO skipped (webhook_id, first, last) VALUES (?, ?, ?)")?
            .execute(params![id, cursor + 1, last])?;
    }
    let found =
        first(tx.prepare_cached("SELECT health FROM webhooks WHERE id = ?")?, [id], "webhooks", health)?;
    // What was reported stays so until it is well again.
    let health = WebhookHealth { reported: found.unwrap_or_default().reported, ..WebhookHealth::default() };
    tx.prepare_cached("UPDATE webhooks SET cursor = ?2, health = ?3 WHERE id = ?1")?.execute(params![
        id,
        last,
        to_json(&HealthForm::of(&health))?
    ])?;
    Ok(())
}

fn delete(tx: &mut Tx<'_>, team: TeamId, id: WebhookId) -> Result<bool, StoreError> {
    let is_there = tx
        .prepare_cached(
            "SELECT 1 FROM webhooks WHERE id = ?2 AND team_no = (SELECT no FROM teams WHERE id = ?1)",
        )?
        .exists(params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes()])?;
    if is_there {
        forget(tx, id.as_uuid().as_bytes())?;
    }
    Ok(is_there)
}

/// Removes a webhook and everything that belongs to it.
pub(crate) fn forget(tx: &mut Tx<'_>, id: &[u8]) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM webhooks WHERE id = ?")?.execute([id])?;
    tx.prepare_cached("DELETE FROM exceptions WHERE webhook_id = ?")?.execute([id])?;
    tx.prepare_cached("DELETE FROM skipped WHERE webhook_id = ?")?.execute([id])?;
    tx.prepare_cached("DELETE FROM replays WHERE webhook_id = ?")?.execute([id])?;
    tx.webhooks_changed();
    Ok(())
}

/// Seals again whatever is not sealed with the current key.
fn reseal(tx: &mut Tx<'_>, sealer: &Sealer) -> Result<u64, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks w JOIN teams t ON t.no = w.team_no");
    let webhooks = all(tx.prepare_cached(&sql)?, [], "webhooks", |cells| decode(cells, Some(sealer)))?;
    let mut n = 0;
    for webhook in webhooks {
        let id = webhook.id.as_uuid().as_bytes();
        let stored: Option<Vec<u8>> =
            tx.prepare_cached("SELECT secrets FROM webhooks WHERE id = ?")?.query_row([id], only)?;
        if stored.is_none_or(|stored| !seal::is_current(sealer, &stored)) {
            tx.prepare_cached("UPDATE webhooks SET signature_secret = '', secrets = ? WHERE id = ?")?
                .execute(params![Secrets::seal(&webhook, Some(sealer))?, id])?;
            n += 1;
        }
    }
    Ok(n)
}

impl Deliveries {
    /// Registers a webhook; `false` if the team already has `max`. Its cursor starts at the end of the log: what was
    /// committed before is not delivered.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be written.
    pub async fn insert_webhook(&self, webhook: Webhook, max: u32) -> Result<bool, StoreError> {
        let sealer = self.inner.sealer.clone();
        self.file().write(move |tx| insert(tx, &webhook, max, sealer.as_deref())).await
    }

    /// Registers the webhooks a sandbox was made with: they get its events from the first on. A sandbox that has any
    /// already (its request was repeated) keeps those.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn insert_sandbox_webhooks(
        &self,
        sandbox_id: SandboxId,
        webhooks: Vec<Webhook>,
    ) -> Result<(), StoreError> {
        let sealer = self.inner.sealer.clone();
        self.file().write(move |tx| insert_of_sandbox(tx, &sandbox_id, &webhooks, sealer.as_deref())).await
    }

    /// The team's webhooks, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhooks(&self, team: TeamId) -> Result<Vec<Webhook>, StoreError> {
        let sealer = self.inner.sealer.clone();
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM teams t JOIN webhooks w ON w.team_no = t.no WHERE t.id = ?
                 ORDER BY w.created_at, w.id"
            );
            let team = [team.as_uuid().as_bytes()];
            all(connection.prepare_cached(&sql)?, team, "webhooks", |cells| decode(cells, sealer.as_deref()))
        };
        self.file().read(op).await
    }

    /// Every team's webhooks.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn all_webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let sealer = self.inner.sealer.clone();
        let op = move |connection: &Connection| {
            let sql = format!("SELECT {COLUMNS} FROM webhooks w JOIN teams t ON t.no = w.team_no");
            all(connection.prepare_cached(&sql)?, [], "webhooks", |cells| decode(cells, sealer.as_deref()))
        };
        self.file().read(op).await
    }

    /// A webhook of the team.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhook(&self, team: TeamId, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        let sealer = self.inner.sealer.clone();
        let op = move |connection: &Connection| find(connection, team, id, sealer.as_deref());
        self.file().read(op).await
    }

    /// Stores every field of `webhook` but its `created_at`; `false` if its team has no such webhook. Enabling one
    /// that was disabled moves its cursor to the end of the log, and what that passes over can be replayed.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn update_webhook(&self, webhook: Webhook) -> Result<bool, StoreError> {
        let sealer = self.inner.sealer.clone();
        self.file().write(move |tx| update(tx, &webhook, sealer.as_deref())).await
    }

    /// Stores `new` in place of `old`, if nobody has changed the webhook since `old` was read: of two changes at once
    /// neither may undo the other.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn replace_webhook(&self, old: Webhook, new: Webhook) -> Result<Replaced, StoreError> {
        let sealer = self.inner.sealer.clone();
        let op = move |tx: &mut Tx<'_>| match find(tx, old.team_id, old.id, sealer.as_deref())? {
            None => Ok(Replaced::Gone),
            Some(current) if current != old => Ok(Replaced::Changed(Box::new(current))),
            Some(_) => update(tx, &new, sealer.as_deref()).map(|_| Replaced::Done),
        };
        self.file().write(op).await
    }

    /// Deletes a webhook with its cursor, exceptions and replays; `false` if the team has no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn delete_webhook(&self, team: TeamId, id: WebhookId) -> Result<bool, StoreError> {
        self.file().write(move |tx| delete(tx, team, id)).await
    }

    /// Seals with the current key what is stored plain or under a previous one; how many webhooks that were. A store
    /// opened without a key changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] if something was sealed with a key that is not at hand.
    pub async fn reseal_webhooks(&self) -> Result<u64, StoreError> {
        match self.inner.sealer.clone() {
            Some(sealer) => self.file().write(move |tx| reseal(tx, &sealer)).await,
            None => Ok(0),
        }
    }
}

/// Takes `first` to `last` out of what a webhook skipped.
pub(crate) fn unskip(tx: &Tx<'_>, id: &[u8], low: u64, high: u64) -> Result<(), StoreError> {
    let (low, high) = (integer(low), integer(high));
    let ranges: Vec<(i64, i64)> = tx
        .prepare_cached("SELECT first, last FROM skipped WHERE webhook_id = ? AND first <= ? AND last >= ?")?
        .query_map(params![id, high, low], |row| Ok((row.get("first")?, row.get("last")?)))?
        .collect::<Result<_, _>>()?;
    for (first, last) in ranges {
        tx.prepare_cached("DELETE FROM skipped WHERE webhook_id = ? AND first = ?")?
            .execute(params![id, first])?;
        for (first, last) in [(first, last.min(low - 1)), (first.max(high + 1), last)] {
            if first <= last {
                tx.prepare_cached("INSERT INTO skipped (webhook_id, first, last) VALUES (?, ?, ?)")?
                    .execute(params![id, first, last])?;
            }
        }
    }
    Ok(())
}
