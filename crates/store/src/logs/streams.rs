//! Logs of sandboxes, in a file of their own: appended in batches, read in pages, bounded in every direction.
//!
//! Each sandbox's log has its bounds, all of them together have one, and beyond any of them the oldest entries go in
//! the same transaction: however much comes, the file stays as large as [`LogBounds`] allows.
//!
//! Clients page by milliseconds ("what follows the last entry I have, from its millisecond plus one"), whatever the size
//! of their pages. Each entry of a log therefore has a millisecond of its own: what comes in one burst is spread.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use sandscope_model::{EventType, LogEntry, LogLevel, LogSource, SandboxId, Timestamp};

use crate::logs::bounds::LogBounds;
use crate::sqlite::row::{Cells, all, first, integer, only};
use crate::sqlite::writer::Tx;
use crate::{Logs, Order, StoreError};

/// What an entry counts beside its message, in bytes.
const OVERHEAD_BYTES: i64 = 64;

const MILLISECOND: i64 = 1000;

/// How long entries are kept.
const LIFETIME_USEC: i64 = 7 * 24 * 3600 * 1_000_000;
/// Entries deleted in one operation.
const BATCH: u32 = 500;

/// Entries to be appended, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBatch {
    /// Whose log.
    pub sandbox_id: SandboxId,
    /// The entries. Their times are only claims: see [`Logs::append_logs`].
    pub entries: Vec<LogEntry>,
    /// Up to which of the agent's lines this goes, for entries that come from there. A batch that goes no further than
    /// an earlier one is that one again, and ignored.
    pub taken_upto: Option<u64>,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// The sandbox whose log is read.
    pub sandbox_id: SandboxId,
    /// From here, inclusive.
    pub start: Option<Timestamp>,
    /// Until here, exclusive.
    pub end: Option<Timestamp>,
    /// Only these and what matters more.
    pub min_level: LogLevel,
    /// Only entries that contain this, whatever the case of its ASCII letters.
    pub search: Option<String>,
    /// By time.
    pub order: Order,
    /// Entries at most.
    pub limit: u32,
}

const fn level_code(level: LogLevel) -> i64 {
    match level {
        LogLevel::Debug => 0,
        LogLevel::Info => 1,
        LogLevel::Warn => 2,
        LogLevel::Error => 3,
    }
}

const fn source_code(source: LogSource) -> i64 {
    match source {
        LogSource::Stdout => 1,
        LogSource::Stderr => 2,
        LogSource::Terminal => 3,
        LogSource::Exit => 4,
        LogSource::Server => 5,
    }
}

fn level_of(code: i64) -> Option<LogLevel> {
    LogLevel::ALL.into_iter().find(|level| level_code(*level) == code)
}

fn source_of(code: i64) -> Option<LogSource> {
    LogSource::ALL.into_iter().find(|source| source_code(*source) == code)
}

fn decode(cells: &mut Cells<'_, '_>) -> Result<LogEntry, StoreError> {
    Ok(decode_entry(cells)?.1)
}

/// An entry and its number.
pub(crate) fn decode_entry(cells: &mut Cells<'_, '_>) -> Result<(u64, LogEntry), StoreError> {
    let no = cells.number("no")?;
    let entry = LogEntry {
        at: cells.time("at")?,
        level: cells.mapped("level", level_of)?,
        source: cells.mapped("source", source_of)?,
        pid: cells.optional_number("pid")?,
        event_type: cells.mapped("event_type", |code: Option<u8>| match code {
            None => Some(None),
            Some(code) => EventType::from_code(code).map(Some),
        })?,
        message: cells.plain("message")?,
    };
    Ok((no, entry))
}

/// The times that entries get which claim to be from `claims` and are stored at `now` behind one of `last`: in order,
/// each in a millisecond of its own, and in the future only where there are more entries than milliseconds. All in
/// microseconds.
fn stamp(last: Option<i64>, now: i64, claims: impl Iterator<Item = i64>) -> Vec<i64> {
    let next_millisecond = |at: i64| (at.div_euclid(MILLISECOND) + 1).saturating_mul(MILLISECOND);
    let mut earliest = last.map_or(i64::MIN, next_millisecond);
    let stamped = claims.map(|claim| {
        let at = claim.min(now).max(earliest);
        earliest = next_millisecond(at);
        at
    });
    stamped.collect()
}

/// What a stream's row says.
struct Stream {
    no: i64,
    last_at: i64,
    taken_upto: i64,
    n_entries: i64,
    n_bytes: i64,
}

fn find_stream(connection: &Connection, id: &SandboxId) -> Result<Option<Stream>, StoreError> {
    let sql = "SELECT no, last_at, taken_upto, n_entries, n_bytes FROM streams WHERE sandbox_id = ?";
    first(connection.prepare_cached(sql)?, [id.as_str()], "streams", |cells| {
        Ok(Stream {
            no: cells.plain("no")?,
            last_at: cells.plain("last_at")?,
            taken_upto: cells.plain("taken_upto")?,
            n_entries: cells.plain("n_entries")?,
            n_bytes: cells.plain("n_bytes")?,
        })
    })
}

fn cost(message: &str) -> i64 {
    i64::try_from(message.len()).unwrap_or(i64::MAX).saturating_add(OVERHEAD_BYTES)
}

fn append(tx: &Tx<'_>, batch: &LogBatch, now: i64, bounds: LogBounds) -> Result<(), StoreError> {
    let found = find_stream(tx, &batch.sandbox_id)?;
    let taken_upto = batch.taken_upto.map(integer);
    if let (Some(stream), Some(upto)) = (&found, taken_upto)
        && upto <= stream.taken_upto
    {
        return Ok(());
    }
    let last = found.as_ref().map(|stream| stream.last_at);
    let mut stream = match found {
        Some(stream) => stream,
        None => {
            tx.prepare_cached(
                "INSERT INTO streams (sandbox_id, last_at, taken_upto, n_entries, n_bytes)
                 VALUES (?, ?, 0, 0, 0)",
            )?
            .execute(params![batch.sandbox_id.as_str(), now])?;
            Stream { no: tx.last_insert_rowid(), last_at: now, taken_upto: 0, n_entries: 0, n_bytes: 0 }
        }
    };
    let times = stamp(last, now, batch.entries.iter().map(|entry| entry.at.as_microsecond()));
    let mut insert = tx.prepare_cached(
        "INSERT INTO entries (stream, at, level, source, pid, event_type, message)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut added = 0;
    for (entry, at) in batch.entries.iter().zip(&times) {
        insert.execute(params![
            stream.no,
            at,
            level_code(entry.level),
            source_code(entry.source),
            entry.pid,
            entry.event_type.map(EventType::code),
            entry.message,
        ])?;
        stream.n_entries += 1;
        added += cost(&entry.message);
        stream.last_at = *at;
    }
    stream.n_bytes += added;
    stream.taken_upto = taken_upto.unwrap_or(stream.taken_upto);
    tx.prepare_cached(
        "UPDATE streams SET last_at = ?2, taken_upto = ?3, n_entries = ?4, n_bytes = ?5 WHERE no = ?1",
    )?
    .execute([stream.no, stream.last_at, stream.taken_upto, stream.n_entries, stream.n_bytes])?;
    change_total(tx, added)?;
    keep_stream_in_bounds(tx, &stream, bounds)?;
    keep_total_in_bounds(tx, bounds)
}

fn change_total(tx: &Tx<'_>, bytes: i64) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE total SET n_bytes = n_bytes + ?")?.execute([bytes])?;
    Ok(())
}

/// An entry about to go.
struct Oldest {
    no: i64,
    stream: i64,
    bytes: i64,
}

/// Deletes the first of `oldest` for which `is_too_much` says so, and takes them off the counts. How many went.
fn drop_while(
    tx: &Tx<'_>,
    oldest: impl IntoIterator<Item = Oldest>,
    mut is_too_much: impl FnMut(&Oldest) -> bool,
) -> Result<usize, StoreError> {
    let mut delete = tx.prepare_cached("DELETE FROM entries WHERE no = ?")?;
    let mut dropped: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut n_dropped = 0;
    for entry in oldest {
        if !is_too_much(&entry) {
            break;
        }
        delete.execute([entry.no])?;
        let (n_entries, n_bytes) = dropped.entry(entry.stream).or_default();
        *n_entries += 1;
        *n_bytes += entry.bytes;
        n_dropped += 1;
    }
    let mut update = tx.prepare_cached(
        "UPDATE streams SET n_entries = n_entries - ?2, n_bytes = n_bytes - ?3 WHERE no = ?1",
    )?;
    for (stream, (n_entries, n_bytes)) in &dropped {
        update.execute([*stream, *n_entries, *n_bytes])?;
    }
    change_total(tx, -dropped.values().map(|(_, n_bytes)| n_bytes).sum::<i64>())?;
    Ok(n_dropped)
}

fn oldest(connection: &Connection, stream: Option<i64>, limit: i64) -> Result<Vec<Oldest>, StoreError> {
    let (condition, order) = match stream {
        Some(_) => ("stream = ?1", "at, no"),
        None => ("?1 IS NULL", "no"),
    };
    let sql = format!(
        "SELECT no, stream, octet_length(message) + {OVERHEAD_BYTES} AS bytes FROM entries
         WHERE {condition} ORDER BY {order} LIMIT ?2"
    );
    all(connection.prepare_cached(&sql)?, params![stream, limit], "entries", |cells| {
        Ok(Oldest { no: cells.plain("no")?, stream: cells.plain("stream")?, bytes: cells.plain("bytes")? })
    })
}

/// Entries looked at in one step of making room.
const STEP: i64 = 500;

fn keep_stream_in_bounds(tx: &Tx<'_>, stream: &Stream, bounds: LogBounds) -> Result<(), StoreError> {
    let mut surplus_entries = stream.n_entries - i64::from(bounds.max_entries);
    let mut surplus_bytes = stream.n_bytes - integer(bounds.max_bytes);
    while surplus_entries > 0 || surplus_bytes > 0 {
        let n_dropped = drop_while(tx, oldest(tx, Some(stream.no), STEP)?, |entry| {
            let is_too_much = surplus_entries > 0 || surplus_bytes > 0;
            surplus_entries -= 1;
            surplus_bytes -= entry.bytes;
            is_too_much
        })?;
        if n_dropped == 0 {
            break;
        }
    }
    Ok(())
}

fn keep_total_in_bounds(tx: &Tx<'_>, bounds: LogBounds) -> Result<(), StoreError> {
    loop {
        let total: i64 = tx.prepare_cached("SELECT n_bytes FROM total")?.query_row([], only)?;
        let mut surplus = total - integer(bounds.max_total_bytes);
        if surplus <= 0 {
            return Ok(());
        }
        let n_dropped = drop_while(tx, oldest(tx, None, STEP)?, |entry| {
            let is_too_much = surplus > 0;
            surplus -= entry.bytes;
            is_too_much
        })?;
        if n_dropped == 0 {
            return Ok(());
        }
    }
}

/// Removes the oldest entries from before `cutoff`, a batch at most, and what is then known of no sandbox any more.
fn forget(tx: &Tx<'_>, cutoff: i64, batch: u32) -> Result<u64, StoreError> {
    let times = "SELECT at FROM entries WHERE no = ?";
    let mut at = tx.prepare_cached(times)?;
    let mut expired = Vec::new();
    for entry in oldest(tx, None, i64::from(batch))? {
        let at: Option<i64> = at.query_row([entry.no], only).optional()?;
        if at.is_none_or(|at| at >= cutoff) {
            break;
        }
        expired.push(entry);
    }
    let n_dropped = drop_while(tx, expired, |_| true)?;
    tx.prepare_cached("DELETE FROM streams WHERE n_entries = 0 AND last_at < ?")?.execute([cutoff])?;
    Ok(u64::try_from(n_dropped).unwrap_or(u64::MAX))
}

/// The query for a stream's (`?1`) entries from (`?2`) until (`?3`) of level (`?4`) and above that contain `?5`.
pub(crate) fn query_sql(order: Order) -> String {
    let order = order.sql();
    format!(
        "SELECT no, at, level, source, pid, event_type, message FROM entries
         WHERE stream = ?1 AND at >= ?2 AND at < ?3 AND level >= ?4
             AND (?5 IS NULL OR instr(lower(message), ?5) > 0)
         ORDER BY at {order}, no {order} LIMIT ?6"
    )
}

fn query(connection: &Connection, query: &LogQuery) -> Result<Vec<LogEntry>, StoreError> {
    let Some(stream) = find_stream(connection, &query.sandbox_id)? else { return Ok(Vec::new()) };
    let values = params![
        stream.no,
        query.start.map_or(i64::MIN, Timestamp::as_microsecond),
        query.end.map_or(i64::MAX, Timestamp::as_microsecond),
        level_code(query.min_level),
        query.search.as_ref().map(|text| text.to_ascii_lowercase()),
        query.limit,
    ];
    let statement = connection.prepare_cached(&query_sql(query.order))?;
    all(statement, values, "entries", decode)
}

impl Logs {
    /// Appends to a sandbox's log. The oldest entries make room where a bound is reached.
    ///
    /// The entries' times are adjusted so that the log stays in order: each is at least in the millisecond after the one
    /// before it, and in the future only where that asks for it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn append_logs(&self, batch: LogBatch) -> Result<(), StoreError> {
        let now = self.clock.now().as_microsecond();
        let bounds = self.bounds;
        self.file().write(move |tx| append(tx, &batch, now, bounds)).await
    }

    /// Up to which of the agent's lines a sandbox's log goes; `None` where the log is not known.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn logs_taken_upto(&self, id: &SandboxId) -> Result<Option<u64>, StoreError> {
        let id = id.clone();
        let op = move |connection: &Connection| find_stream(connection, &id);
        Ok(self.file().read(op).await?.map(|stream| u64::try_from(stream.taken_upto).unwrap_or(0)))
    }

    /// A page of a sandbox's log. No two entries share a millisecond.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn logs(&self, query: LogQuery) -> Result<Vec<LogEntry>, StoreError> {
        self.file().read(move |connection| self::query(connection, &query)).await
    }

    /// Removes entries older than 7 days at `now`, and logs that have been empty for as long; returns how many entries.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. What was removed until then stays removed.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let cutoff = now.as_microsecond().saturating_sub(LIFETIME_USEC);
        let mut n_deleted = 0;
        loop {
            let n = self.file().write(move |tx| forget(tx, cutoff, BATCH)).await?;
            n_deleted += n;
            if n < u64::from(BATCH) {
                return Ok(n_deleted);
            }
        }
    }
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
