//! API keys: only their hashes are stored.

use rusqlite::{Connection, params};
use sandscope_model::{ApiKey, ApiKeyId, Team, TeamId, Timestamp};

use crate::facts::teams::{TEAM_COLUMNS, decode_team, team_no};
use crate::sqlite::row::{Cells, all, first, to_json};
use crate::sqlite::writer::Tx;
use crate::{Facts, StoreError};

/// A key about to be stored.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What is shown of it.
    pub key: ApiKey,
    /// SHA-256 of the key's text.
    pub hash: [u8; 32],
}

/// Whose key was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The team that owns it.
    pub team: Team,
    /// The key's public handle.
    pub key_id: ApiKeyId,
    /// What the key is called now.
    pub key_name: String,
}

/// A key that no longer opens anything, kept so that events which name it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedApiKey {
    /// What was known of it when it was deleted.
    pub key: ApiKey,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// How long a deleted key stays readable after the longest retention of events: no event names it then.
const DELETED_LIFETIME_DAYS: i64 = 366;

const DAY_USEC: i64 = 24 * 3600 * 1_000_000;

/// Most deleted keys that are kept for a team: the newest.
const MAX_DELETED: i64 = 10_000;

const KEY_COLUMNS: &str = "k.id, t.id AS team_id, k.name, k.mask, k.created_at, k.last_used_at";

fn decode_key(cells: &mut Cells<'_, '_>) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: cells.uuid("id")?,
        team_id: cells.uuid("team_id")?,
        name: cells.plain("name")?,
        mask: cells.json("mask")?,
        created_at: cells.time("created_at")?,
        last_used_at: cells.optional_time("last_used_at")?,
    })
}

pub(crate) fn insert_key(connection: &Connection, new: &NewApiKey) -> Result<(), StoreError> {
    let NewApiKey { key, hash } = new;
    connection
        .prepare_cached(
            "INSERT INTO api_keys (hash, id, team_no, name, mask, created_at, last_used_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            hash,
            key.id.as_uuid().as_bytes(),
            team_no(connection, key.team_id)?,
            key.name,
            to_json(&key.mask)?,
            key.created_at.as_microsecond(),
            key.last_used_at.map(Timestamp::as_microsecond),
        ])?;
    Ok(())
}

/// Removes deleted keys that no event names any more, and all but the newest of very many.
fn forget_deleted(tx: &Tx<'_>, team: TeamId, now: i64) -> Result<(), StoreError> {
    let cutoff = now.saturating_sub(DELETED_LIFETIME_DAYS * DAY_USEC);
    tx.prepare_cached(
        "DELETE FROM deleted_api_keys WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND (
             deleted_at < ?2
             OR deleted_at < (
                 SELECT deleted_at FROM deleted_api_keys
                 WHERE team_no = (SELECT no FROM teams WHERE id = ?1)
                 ORDER BY deleted_at DESC LIMIT 1 OFFSET ?3))",
    )?
    .execute(params![team.as_uuid().as_bytes(), cutoff, MAX_DELETED])?;
    Ok(())
}

impl Facts {
    /// Stores a key.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be written.
    pub async fn insert_api_key(&self, new: NewApiKey) -> Result<(), StoreError> {
        self.file().write(move |tx| insert_key(tx, &new)).await
    }

    /// The team's keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn api_keys(&self, team: TeamId) -> Result<Vec<ApiKey>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {KEY_COLUMNS} FROM teams t JOIN api_keys k ON k.team_no = t.no WHERE t.id = ?
                 ORDER BY k.created_at"
            );
            all(connection.prepare_cached(&sql)?, [team.as_uuid().as_bytes()], "api_keys", decode_key)
        };
        self.file().read(op).await
    }

    /// Renames a key; `None` if the team has no such key.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn rename_api_key(
        &self,
        team: TeamId,
        id: ApiKeyId,
        name: String,
    ) -> Result<Option<ApiKey>, StoreError> {
        let op = move |tx: &mut Tx<'_>| {
            tx.prepare_cached(
                "UPDATE api_keys SET name = ?3
                 WHERE id = ?2 AND team_no = (SELECT no FROM teams WHERE id = ?1)",
            )?
            .execute(params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes(), name])?;
            let sql = format!(
                "SELECT {KEY_COLUMNS} FROM api_keys k JOIN teams t ON t.no = k.team_no
                 WHERE t.id = ?1 AND k.id = ?2"
            );
            first(
                tx.prepare_cached(&sql)?,
                params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes()],
                "api_keys",
                decode_key,
            )
        };
        self.file().write(op).await
    }

    /// Deletes a key at `now`; `false` if the team has no such key. Its name and mask stay readable, its hash does not.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn delete_api_key(
        &self,
        team: TeamId,
        id: ApiKeyId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let now = now.as_microsecond();
        let op = move |tx: &mut Tx<'_>| {
            tx.prepare_cached(
                "INSERT INTO deleted_api_keys (id, team_no, name, mask, created_at, last_used_at, deleted_at)
                 SELECT id, team_no, name, mask, created_at, last_used_at, ?3 FROM api_keys
                 WHERE id = ?2 AND team_no = (SELECT no FROM teams WHERE id = ?1)",
            )?
            .execute(params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes(), now])?;
            forget_deleted(tx, team, now)?;
            let deleted = tx
                .prepare_cached(
                    "DELETE FROM api_keys
                     WHERE id = ?2 AND team_no = (SELECT no FROM teams WHERE id = ?1)",
                )?
                .execute(params![team.as_uuid().as_bytes(), id.as_uuid().as_bytes()])?;
            Ok(deleted == 1)
        };
        self.file().write(op).await
    }

    /// The team's deleted keys, the last deleted first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn deleted_api_keys(&self, team: TeamId) -> Result<Vec<DeletedApiKey>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {KEY_COLUMNS}, k.deleted_at FROM teams t JOIN deleted_api_keys k ON k.team_no = t.no
                 WHERE t.id = ? ORDER BY k.deleted_at DESC"
            );
            let statement = connection.prepare_cached(&sql)?;
            all(statement, [team.as_uuid().as_bytes()], "deleted_api_keys", |cells| {
                Ok(DeletedApiKey { key: decode_key(cells)?, deleted_at: cells.time("deleted_at")? })
            })
        };
        self.file().read(op).await
    }

    /// Whose key has this SHA-256. Always an indexed read and never a cache: a key that another process made or
    /// deleted counts from its commit on.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn authenticate(&self, hash: [u8; 32]) -> Result<Option<Known>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {TEAM_COLUMNS}, k.id AS key_id, k.name AS key_name
                 FROM api_keys k JOIN teams t ON t.no = k.team_no WHERE k.hash = ?"
            );
            first(connection.prepare_cached(&sql)?, [hash], "api_keys", |cells| {
                let team = decode_team(cells)?;
                Ok(Known { team, key_id: cells.uuid("key_id")?, key_name: cells.plain("key_name")? })
            })
        };
        self.file().read(op).await
    }

    /// Notes that a key was used: once a minute at most, without waiting, and dropped if the store is busy.
    pub fn touch_api_key(&self, id: ApiKeyId, at: Timestamp) {
        if !self.inner.touched.is_due(id, at) {
            return;
        }
        self.file().write_unattended(move |tx| {
            tx.prepare_cached("UPDATE api_keys SET last_used_at = ? WHERE id = ?")?
                .execute(params![at.as_microsecond(), id.as_uuid().as_bytes()])?;
            Ok(())
        });
    }
}
