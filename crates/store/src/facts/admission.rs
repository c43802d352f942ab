//! Admission: whether one more sandbox may be created, decided and recorded in one transaction, so that requests that
//! arrive together cannot share the last free place or the same idempotency key.

use rusqlite::{Connection, params};
use sandscope_model::{Sandbox, SandboxId, Timestamp};

use crate::facts::sandboxes;
use crate::facts::teams::team_no;
use crate::sqlite::row::first;
use crate::sqlite::writer::Tx;
use crate::{Facts, StoreError};

/// How long an idempotency key is kept, in microseconds.
pub(crate) const KEY_LIFETIME_USEC: i64 = 24 * 3600 * 1_000_000;

/// What makes a repeated create recognisable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key.
    pub key: String,
    /// SHA-256 of the request: the same key with another request is a mistake.
    pub request_hash: [u8; 32],
}

/// Whether a sandbox may be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may; its row is stored.
    Admitted,
    /// The team has as many live sandboxes as it may have.
    LimitReached {
        /// How many that is.
        limit: u32,
    },
    /// The key was used before for the same request, and this came of it.
    Replay(SandboxId),
    /// The key was used before for the same request, which is still under way.
    InProgress,
    /// The key was used before for another request.
    Mismatch,
}

struct Known {
    request_hash: [u8; 32],
    sandbox_id: SandboxId,
    created_at: i64,
    /// `None`: no such row.
    state: Option<String>,
}

fn known(connection: &Connection, team_no: i64, key: &str) -> Result<Option<Known>, StoreError> {
    let statement = connection.prepare_cached(
        "SELECT i.key, i.request_hash, i.sandbox_id, i.created_at, s.state
         FROM idempotency_keys i LEFT JOIN sandboxes s ON s.id = i.sandbox_id
         WHERE i.team_no = ? AND i.key = ?",
    )?;
    first(statement, params![team_no, key], "idempotency_keys", |cells| {
        let _key: String = cells.plain("key")?;
        Ok(Known {
            request_hash: cells.plain("request_hash")?,
            sandbox_id: cells.id("sandbox_id")?,
            created_at: cells.plain("created_at")?,
            state: cells.plain("state")?,
        })
    })
}

/// The answer the key already has, if it has one.
fn replay(
    connection: &Connection,
    team_no: i64,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Admission>, StoreError> {
    let Some(known) = known(connection, team_no, &key.key)? else { return Ok(None) };
    let is_expired = now.as_microsecond().saturating_sub(known.created_at) >= KEY_LIFETIME_USEC;
    Ok(match known.state {
        _ if is_expired => None,
        _ if known.request_hash != key.request_hash => Some(Admission::Mismatch),
        Some(state) if state == "creating" => Some(Admission::InProgress),
        Some(_) => Some(Admission::Replay(known.sandbox_id)),
        None => None,
    })
}

fn admit(
    tx: &Tx<'_>,
    node_no: i64,
    sandbox: &Sandbox,
    max_concurrent: u32,
    idempotency: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Admission, StoreError> {
    let team_no = team_no(tx, sandbox.team_id)?;
    if let Some(key) = idempotency
        && let Some(answer) = replay(tx, team_no, key, now)?
    {
        return Ok(answer);
    }
    if n_live(tx, team_no)? >= max_concurrent {
        return Ok(Admission::LimitReached { limit: max_concurrent });
    }
    sandboxes::insert(tx, team_no, node_no, sandbox)?;
    if let Some(key) = idempotency {
        tx.prepare_cached(
            "INSERT INTO idempotency_keys (team_no, key, request_hash, sandbox_id, created_at)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET request_hash = excluded.request_hash, sandbox_id = excluded.sandbox_id,
                 created_at = excluded.created_at",
        )?
        .execute(params![
            team_no,
            key.key,
            key.request_hash,
            sandbox.id.as_str(),
            now.as_microsecond()
        ])?;
    }
    Ok(Admission::Admitted)
}

/// Sandboxes that count against the limit.
fn n_live(connection: &Connection, team_no: i64) -> Result<u32, StoreError> {
    let statement = connection.prepare_cached(
        "SELECT COUNT(*) AS count FROM sandboxes
         WHERE team_no = ? AND state <> 'killed' AND state IN ('creating', 'running', 'pausing', 'resuming')",
    )?;
    let n = first(statement, [team_no], "sandboxes", |cells| cells.number("count"))?;
    Ok(n.unwrap_or(0))
}

impl Facts {
    /// Stores `sandbox`, which is about to be created on this node, unless the team already has `max_concurrent` live ones
    /// (being created, running, being paused or resumed) or the idempotency key has an answer already. Keys are kept
    /// for 24 hours.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be written.
    pub async fn admit_sandbox(
        &self,
        sandbox: &Sandbox,
        max_concurrent: u32,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Admission, StoreError> {
        let sandbox = sandbox.clone();
        let (now, node_no) = (self.inner.clock.now(), self.node_no);
        let op =
            move |tx: &mut Tx<'_>| admit(tx, node_no, &sandbox, max_concurrent, idempotency.as_ref(), now);
        self.file().write(op).await
    }
}
