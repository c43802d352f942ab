//! Retention of the facts: what is old enough goes, in bounded batches, so that no delete ever keeps a commit waiting for long.
//!
//! Each batch is an operation like any other and shares its transaction with whatever else is written at the time.
//! The log is only ever cut from its beginning, and never past what a webhook still has to deliver.

use rusqlite::{Connection, params};
use sandscope_model::Timestamp;

use crate::facts::admission::KEY_LIFETIME_USEC;
use crate::facts::events::BLOCK;
use crate::facts::{activity_blocks, webhooks};
use crate::sqlite::row::{all, only};
use crate::sqlite::writer::Tx;
use crate::{Facts, StoreError};

/// How long the webhooks of an ended sandbox stay once they have delivered everything: to look at their deliveries.
const SCOPED_GRACE_USEC: i64 = 3600 * 1_000_000;

/// Rows deleted in one operation.
const BATCH: u32 = 500;
const DAY_USEC: i64 = 24 * 3600 * 1_000_000;
/// How long replays that are over are kept.
const REPLAY_LIFETIME_USEC: i64 = 7 * DAY_USEC;

/// How many facts retention removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Events past their team's retention that every cursor has passed.
    pub events: u64,
    /// Killed sandboxes past their team's retention.
    pub sandboxes: u64,
    /// Idempotency keys older than 24 hours.
    pub idempotency_keys: u64,
}

/// One team's number and the time before which its history may go.
type Cutoff = (i64, i64);

fn cutoffs(connection: &Connection, now: i64) -> Result<Vec<Cutoff>, StoreError> {
    let statement = connection.prepare_cached("SELECT no, event_retention_days FROM teams")?;
    all(statement, [], "teams", |cells| {
        let no = cells.plain("no")?;
        let days: u16 = cells.number("event_retention_days")?;
        Ok((no, now.saturating_sub(i64::from(days) * DAY_USEC)))
    })
}

/// The last event of the team that no webhook needs any more: behind every enabled webhook's cursor and before every
/// delivery it still has to try.
fn passed_by_all(connection: &Connection, team_no: i64) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT MIN(last) FROM (
                 SELECT cursor AS last FROM webhooks WHERE team_no = ?1 AND enabled
                 UNION ALL
                 SELECT e.sequence - 1 FROM webhooks w JOIN exceptions e ON e.webhook_id = w.id
                     WHERE w.team_no = ?1 AND w.enabled AND e.next_due_at IS NOT NULL
                 UNION ALL
                 SELECT r.next - 1 FROM webhooks w JOIN replays r ON r.webhook_id = w.id
                     WHERE w.team_no = ?1 AND w.enabled AND r.state = 'running'
             )",
        )?
        .query_row([team_no], only::<Option<i64>>)?
        .unwrap_or(i64::MAX))
}

fn cut_log(tx: &Tx<'_>, (team_no, cutoff): Cutoff) -> Result<u64, StoreError> {
    let bound = passed_by_all(tx, team_no)?;
    let mut oldest = tx.prepare_cached(
        "SELECT sequence, timestamp FROM events WHERE team_no = ? AND sequence <= ? ORDER BY sequence LIMIT ?",
    )?;
    let mut rows = oldest.query(params![team_no, bound, BATCH])?;
    let (mut last, mut newest) = (None, i64::MIN);
    while let Some(row) = rows.next()? {
        let at = row.get::<_, i64>("timestamp")?;
        if at >= cutoff {
            break;
        }
        newest = newest.max(at);
        last = Some(row.get::<_, i64>("sequence")?);
    }
    let Some(last) = last else { return Ok(0) };
    tx.prepare_cached("UPDATE teams SET cut_at = MAX(COALESCE(cut_at, ?2), ?2) WHERE no = ?1")?
        .execute([team_no, newest])?;
    tx.prepare_cached("DELETE FROM event_blocks WHERE team_no = ? AND block < ?")?
        .execute([team_no, (last + 1) / BLOCK])?;
    activity_blocks::cut(tx, team_no, last)?;
    tx.prepare_cached(
        "DELETE FROM exceptions WHERE sequence <= ?2
             AND webhook_id IN (SELECT id FROM webhooks WHERE team_no = ?1)",
    )?
    .execute([team_no, last])?;
    tx.prepare_cached(
        "DELETE FROM skipped WHERE last <= ?2 AND webhook_id IN (SELECT id FROM webhooks WHERE team_no = ?1)",
    )?
    .execute([team_no, last])?;
    let n = tx
        .prepare_cached("DELETE FROM events WHERE team_no = ? AND sequence <= ?")?
        .execute([team_no, last])?;
    Ok(count(n))
}

fn forget_killed(tx: &Tx<'_>, node_no: i64, (team_no, cutoff): Cutoff) -> Result<u64, StoreError> {
    let n = tx
        .prepare_cached(
            "DELETE FROM sandboxes WHERE id IN (
                 SELECT id FROM sandboxes WHERE team_no = ? AND state = 'killed' AND killed_at < ? AND node_no = ?
                 ORDER BY killed_at LIMIT ?)",
        )?
        .execute(params![team_no, cutoff, node_no, BATCH])?;
    Ok(count(n))
}

/// Webhooks of sandboxes that are forgotten, were never made, or have ended by `cutoff` and left nothing to deliver: what
/// ran out of attempts can still be sent again.
fn forget_scoped(tx: &mut Tx<'_>, cutoff: i64) -> Result<(), StoreError> {
    let orphans: Vec<Vec<u8>> = tx
        .prepare_cached(
            "SELECT w.id FROM webhooks w LEFT JOIN sandboxes s ON s.id = w.sandbox_id
             WHERE w.sandbox_id IS NOT NULL AND (s.id IS NULL OR (
                 s.state = 'killed' AND s.killed_at <= ?
                 AND (NOT w.enabled OR w.cursor >= (
                     SELECT MAX(sequence) FROM events INDEXED BY events_by_sandbox
                     WHERE events.team_no = w.team_no AND events.sandbox_id = w.sandbox_id))
                 AND NOT EXISTS (SELECT 1 FROM exceptions e WHERE e.webhook_id = w.id)
                 AND NOT EXISTS (SELECT 1 FROM replays r WHERE r.webhook_id = w.id AND r.state = 'running')))",
        )?
        .query_map([cutoff], only)?
        .collect::<Result<_, _>>()?;
    orphans.iter().try_for_each(|id| webhooks::forget(tx, id))
}

fn forget_replays(tx: &Tx<'_>, cutoff: i64) -> Result<u64, StoreError> {
    let n = tx
        .prepare_cached(
            "DELETE FROM replays WHERE no IN (
                 SELECT no FROM replays WHERE state <> 'running' AND finished_at < ? LIMIT ?)",
        )?
        .execute(params![cutoff, BATCH])?;
    Ok(count(n))
}

fn forget_keys(tx: &Tx<'_>, cutoff: i64) -> Result<u64, StoreError> {
    let n = tx
        .prepare_cached(
            "DELETE FROM idempotency_keys WHERE (team_no, key) IN (
                 SELECT team_no, key FROM idempotency_keys WHERE created_at <= ? ORDER BY created_at LIMIT ?)",
        )?
        .execute(params![cutoff, BATCH])?;
    Ok(count(n))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Facts {
    /// Removes what is past its time at `now`: events (per team, and only what no webhook still has to deliver),
    /// killed sandboxes of this node (like events), idempotency keys (24 hours), replays that are over (7 days).
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. What was removed until then stays removed.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<Removed, StoreError> {
        let (now, node_no) = (now.as_microsecond(), self.node_no);
        let mut removed = Removed::default();
        for cutoff in self.file().read(move |connection| cutoffs(connection, now)).await? {
            removed.events += self.in_batches(move |tx| cut_log(tx, cutoff)).await?;
            removed.sandboxes += self.in_batches(move |tx| forget_killed(tx, node_no, cutoff)).await?;
        }
        let ended_by = now.saturating_sub(SCOPED_GRACE_USEC);
        self.file().write(move |tx| forget_scoped(tx, ended_by)).await?;
        let cutoff = now.saturating_sub(REPLAY_LIFETIME_USEC);
        self.in_batches(move |tx| forget_replays(tx, cutoff)).await?;
        let cutoff = now.saturating_sub(KEY_LIFETIME_USEC);
        removed.idempotency_keys = self.in_batches(move |tx| forget_keys(tx, cutoff)).await?;
        Ok(removed)
    }

    /// Repeats an operation until it no longer finds a whole batch.
    async fn in_batches<F>(&self, op: F) -> Result<u64, StoreError>
    where
        F: Fn(&Tx<'_>) -> Result<u64, StoreError> + Copy + Send + 'static,
    {
        let mut total = 0;
        loop {
            let n = self.file().write(move |tx| op(tx)).await?;
            total += n;
            if n < u64::from(BATCH) {
                return Ok(total);
            }
        }
    }
}
