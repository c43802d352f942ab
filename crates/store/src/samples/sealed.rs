//! Samples of whole hours, sealed into compact blocks; and their retention.
//!
//! ```text
//!   insert_samples ──► samples (a row each) ──── an hour is over ────► blocks, level 0    (the samples)
//!                          one transaction: rows out, blocks in    └─► blocks, level 30   (max and sum of 30 s)
//!                                                                   └─► blocks, level 300
//!   reading: rows and blocks together; long ranges from the coarsest level that divides the step
//! ```
//!
//! A sample is in a row or in a block, never in both and never in none, whenever the server is killed: each hour of a
//! series moves in one transaction. A sample that comes late for a sealed hour waits in its row and is sealed with
//! the next pass, as a further block of the same hour. Rows that versions before wrote are sealed like any other.
//!
//! Retention drops whole blocks, the oldest first: by age, and where the file may only grow so large, by size.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use sandscope_model::Timestamp;
use sandscope_sample_blocks::{Block, Point, SECOND, Spans, encode_samples, encode_spans};

use crate::failure::Failure;
use crate::samples::sample_row;
use crate::sqlite::row::{all, integer, only};
use crate::sqlite::writer::Tx;
use crate::{Samples, StoreError};

const HOUR: i64 = 3600 * SECOND;
/// How long an hour waits for latecomers before it is sealed.
const GRACE: i64 = 60 * SECOND;
/// Hours of a series sealed in one operation: each takes the writer a few milliseconds.
const SEAL_BATCH: usize = 8;
/// Blocks dropped in one operation.
const DROP_BATCH: u32 = 256;
/// The same where the file has become too large: what is dropped beyond need could have been kept.
const SHRINK_BATCH: u32 = 8;
/// What a block takes beside its data, with its place in two indexes, and what a row takes: measured, and rounded.
const BLOCK_BYTES: u64 = 64;
const ROW_BYTES: u64 = 96;

/// The level of blocks that hold samples.
pub(crate) const SAMPLES: i64 = 0;
/// The levels of blocks that hold spans, in seconds, the coarsest first.
pub(crate) const SPANS: [i64; 2] = [300, 30];

/// How long samples are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRetention {
    /// Samples themselves.
    pub samples: Duration,
    /// The largest and the mean of 30 and 300 seconds.
    pub spans: Duration,
    /// How large the file may be, in bytes; what is oldest goes first.
    pub max_bytes: Option<u64>,
}

impl Default for SampleRetention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self { samples: 7 * DAY, spans: 30 * DAY, max_bytes: None }
    }
}

/// What a pass of sealing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Samples that are in blocks now.
    pub samples: u64,
    /// Bytes of those blocks, all levels together.
    pub bytes: u64,
}

/// The blocks of a series (`?1`) and level (`?2`) that have anything between `?3` and `?4`, oldest first. No block is
/// longer than an hour, which bounds the search from below.
pub(crate) const BLOCKS_IN_RANGE: &str = "SELECT no, data FROM blocks WHERE series = ?1 AND level = ?2
     AND first_at BETWEEN ?3 - 3600000000 AND ?4 AND last_at >= ?3 ORDER BY first_at";

/// Takes what the blocks of a level have from `start` to `end`, both inclusive.
pub(crate) fn read_blocks(
    connection: &Connection,
    series: i64,
    level: i64,
    (start, end): (i64, i64),
    mut take: impl FnMut(Point),
) -> Result<(), StoreError> {
    let statement = connection.prepare_cached(BLOCKS_IN_RANGE)?;
    let start_searched = start.max(i64::MIN + HOUR);
    let blocks = all(statement, params![series, level, start_searched, end], "blocks", |cells| {
        Ok((cells.plain::<i64>("no")?, cells.plain::<Vec<u8>>("data")?))
    })?;
    for (no, data) in blocks {
        read_block((no, level), &data, (start, end), &mut take)?;
    }
    Ok(())
}

/// Takes what a block has from `start` to `end`, both inclusive.
pub(crate) fn read_block(
    (no, level): (i64, i64),
    data: &[u8],
    range: (i64, i64),
    take: impl FnMut(Point),
) -> Result<(), StoreError> {
    let block = if level == SAMPLES { Block::of_samples(data) } else { Block::of_spans(data) };
    block.and_then(|block| block.each(range, take)).ok_or_else(|| StoreError::Corrupt {
        table: "blocks",
        column: "data",
        row: no.to_string(),
    })
}

/// Where a pass goes on.
struct Step {
    /// The series to look at next; `None`: the pass is over.
    next: Option<i64>,
    done: Sealed,
}

fn seal(tx: &Tx<'_>, from: i64, before: i64) -> Result<Step, StoreError> {
    let mut step = Step { next: Some(from), done: Sealed::default() };
    for _ in 0..SEAL_BATCH {
        let Some(series) = step.next else { break };
        let oldest: Option<(i64, i64)> = tx
            .prepare_cached("SELECT series, at FROM samples WHERE series >= ? ORDER BY series, at LIMIT 1")?
            .query_row([series], |row| Ok((row.get("series")?, row.get("at")?)))
            .optional()?;
        step.next = match oldest {
            None => None,
            Some((series, at)) if at >= before => Some(series.saturating_add(1)),
            Some((series, at)) => {
                let start = at - at.rem_euclid(HOUR);
                let done = seal_hour(tx, series, (start, start + HOUR - 1))?;
                step.done.samples += done.samples;
                step.done.bytes += done.bytes;
                Some(series)
            }
        };
    }
    Ok(step)
}

fn seal_hour(tx: &Tx<'_>, series: i64, (start, end): (i64, i64)) -> Result<Sealed, StoreError> {
    let statement = tx.prepare_cached(&crate::samples::series::rows_sql())?;
    let points = all(statement, params![series, start, end], "samples", |cells| {
        sample_row::decode(cells).map(|(at, values)| Point::one(at, &values))
    })?;
    let mut bytes = insert_block(tx, series, SAMPLES, &points)?;
    for level in SPANS {
        let mut spans = Spans::new(level * SECOND);
        points.iter().for_each(|point| spans.add(point));
        let spans: Vec<Point> = spans.into_points().collect();
        bytes += insert_block(tx, series, level, &spans)?;
    }
    let n = tx
        .prepare_cached("DELETE FROM samples WHERE series = ? AND at BETWEEN ? AND ?")?
        .execute(params![series, start, end])?;
    Ok(Sealed { samples: u64::try_from(n).unwrap_or(u64::MAX), bytes })
}

fn insert_block(tx: &Tx<'_>, series: i64, level: i64, points: &[Point]) -> Result<u64, StoreError> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(0) };
    let data = if level == SAMPLES { encode_samples(points) } else { encode_spans(points) };
    let data = data.ok_or_else(|| StoreError::NoForm(Failure::new("samples cannot be compressed")))?;
    // A block keeps the millisecond.
    let first_at = first.at - first.at.rem_euclid(1_000);
    let n = integer(u64::try_from(points.len()).unwrap_or(u64::MAX));
    tx.prepare_cached(
        "INSERT INTO blocks (series, level, first_at, last_at, n, data) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![series, level, first_at, last.at, n, data])?;
    Ok(u64::try_from(data.len()).unwrap_or(u64::MAX))
}

/// What went with the oldest blocks.
#[derive(Debug, Default)]
struct Dropped {
    n_blocks: u32,
    /// Samples or spans that were in them.
    n_points: u64,
    /// As [`held_bytes`] counts.
    bytes: u64,
}

/// Drops the oldest blocks of a level that end before `cutoff`.
fn drop_blocks(tx: &Tx<'_>, level: i64, cutoff: i64, most: u32) -> Result<Dropped, StoreError> {
    let dropped = {
        let statement = tx.prepare_cached(
            "SELECT no, series, n, LENGTH(data) AS bytes FROM blocks
                 WHERE level = ? AND last_at < ? ORDER BY last_at LIMIT ?",
        )?;
        all(statement, params![level, cutoff, most], "blocks", |cells| {
            let (no, series) = (cells.plain::<i64>("no")?, cells.plain::<i64>("series")?);
            Ok((no, series, cells.number::<u64>("n")?, cells.number::<u64>("bytes")?))
        })?
    };
    let mut all = Dropped::default();
    for (no, series, n_points, bytes) in &dropped {
        tx.prepare_cached("DELETE FROM blocks WHERE no = ?")?.execute([no])?;
        forget_if_empty(tx, *series)?;
        all.n_blocks += 1;
        all.n_points += n_points;
        all.bytes += bytes + BLOCK_BYTES;
    }
    Ok(all)
}

/// Forgets a series of which nothing is left.
pub(crate) fn forget_if_empty(tx: &Tx<'_>, series: i64) -> Result<(), StoreError> {
    tx.prepare_cached(
        "DELETE FROM series WHERE no = ?1 AND NOT EXISTS (SELECT 1 FROM samples WHERE series = ?1)
             AND NOT EXISTS (SELECT 1 FROM blocks WHERE series = ?1)",
    )?
    .execute([series])?;
    Ok(())
}

/// Bytes of all blocks and rows. Not those of the file's pages: one that holds several small blocks is not free before
/// all of them are gone, so that by pages much would be dropped that makes no room.
fn held_bytes(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) AS n_blocks, COALESCE(SUM(LENGTH(data)), 0) AS data, (SELECT COUNT(*) FROM samples) AS n_rows FROM blocks";
    let (n_blocks, data, n_rows) = connection.query_row(sql, [], |row| {
        Ok((row.get::<_, i64>("n_blocks")?, row.get::<_, i64>("data")?, row.get::<_, i64>("n_rows")?))
    })?;
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(number(data) + number(n_blocks) * BLOCK_BYTES + number(n_rows) * ROW_BYTES)
}

/// Bytes of the file that hold something.
fn used_bytes(connection: &Connection) -> Result<u64, StoreError> {
    let pragma = |name| connection.query_row(&format!("PRAGMA {name}"), [], only::<i64>);
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(u64::try_from(pages.saturating_mul(pragma("page_size")?)).unwrap_or(0))
}

impl Samples {
    /// Seals every hour that is over at `now`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. What was sealed until then stays sealed.
    pub async fn seal_samples(&self, now: Timestamp) -> Result<Sealed, StoreError> {
        let settled = now.as_microsecond().saturating_sub(GRACE);
        let before = settled - settled.rem_euclid(HOUR);
        let (mut sealed, mut next) = (Sealed::default(), Some(0));
        while let Some(from) = next {
            let step = self.file().write(move |tx| seal(tx, from, before)).await?;
            sealed.samples += step.done.samples;
            sealed.bytes += step.done.bytes;
            next = step.next;
        }
        Ok(sealed)
    }

    /// Drops blocks that are past their time at `now`, and the oldest ones while the file is larger than it may be.
    /// Returns how many samples were in them.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. What was dropped until then stays dropped.
    pub async fn drop_samples(&self, now: Timestamp, retention: &SampleRetention) -> Result<u64, StoreError> {
        let cutoff = |age: Duration| {
            now.as_microsecond().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
        };
        let mut n_samples = 0;
        for level in std::iter::once(SAMPLES).chain(SPANS) {
            let cutoff = cutoff(if level == SAMPLES { retention.samples } else { retention.spans });
            loop {
                let dropped = self.file().write(move |tx| drop_blocks(tx, level, cutoff, DROP_BATCH)).await?;
                n_samples += if level == SAMPLES { dropped.n_points } else { 0 };
                if dropped.n_blocks < DROP_BATCH {
                    break;
                }
            }
        }
        if let Some(max_bytes) = retention.max_bytes {
            n_samples += self.shrink(max_bytes).await?;
        }
        Ok(n_samples)
    }

    /// Drops the oldest blocks until the file holds no more than `max_bytes`: samples first, as their spans say
    /// the same with less.
    async fn shrink(&self, max_bytes: u64) -> Result<u64, StoreError> {
        let mut held = self.file().read(held_bytes).await?;
        let mut n_samples = 0;
        for level in std::iter::once(SAMPLES).chain(SPANS.into_iter().rev()) {
            loop {
                if held <= max_bytes {
                    return Ok(n_samples);
                }
                let op = move |tx: &mut Tx<'_>| drop_blocks(tx, level, i64::MAX, SHRINK_BATCH);
                let Dropped { n_blocks, n_points, bytes } = self.file().write(op).await?;
                n_samples += if level == SAMPLES { n_points } else { 0 };
                held = held.saturating_sub(bytes);
                if n_blocks == 0 {
                    break;
                }
            }
        }
        Ok(n_samples)
    }

    /// Bytes of the samples' file that hold something.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn sample_bytes(&self) -> Result<u64, StoreError> {
        self.file().read(used_bytes).await
    }
}
