//! Samples of the sandboxes' metrics, in a file of their own: written as rows, read from rows and from what [`sealed`]
//! made of them.
//!
//! [`sealed`]: crate::samples::sealed

use rusqlite::{Connection, params};
use sandscope_model::{Sample, SandboxId, Timestamp, Values};
use sandscope_sample_blocks::{Aggregate, Point, SECOND, Spans, sample};

use crate::samples::sample_row;
use crate::samples::sealed::{SAMPLES, SPANS, read_block, read_blocks};
use crate::sqlite::row::{all, first, only};
use crate::sqlite::writer::Tx;
use crate::{Samples, StoreError};

fn insert(tx: &Tx<'_>, sample: &Sample) -> Result<(), StoreError> {
    let id = sample.sandbox_id.as_str();
    let mut find = tx.prepare_cached("SELECT no FROM series WHERE sandbox_id = ?")?;
    let known: Option<i64> = rusqlite::OptionalExtension::optional(find.query_row([id], only))?;
    let series = match known {
        Some(series) => series,
        None => {
            tx.prepare_cached("INSERT INTO series (sandbox_id) VALUES (?)")?.execute([id])?;
            tx.last_insert_rowid()
        }
    };
    let ([cpu_used, cpu_count, mem_used, mem_total, mem_cache, disk_used, disk_total], more) =
        sample_row::encode(&sample.values);
    let at = sample.at.as_microsecond();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO samples (series, at, cpu_used_centi_pct, cpu_count, mem_used_bytes,
             mem_total_bytes, mem_cache_bytes, disk_used_bytes, disk_total_bytes, more)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        series, at, cpu_used, cpu_count, mem_used, mem_total, mem_cache, disk_used, disk_total, more
    ])?;
    Ok(())
}

/// The rows of a series (`?1`) from `?2` to `?3`.
pub(crate) fn rows_sql() -> String {
    let columns = sample_row::COLUMNS;
    format!("SELECT {columns} FROM samples WHERE series = ?1 AND at BETWEEN ?2 AND ?3 ORDER BY at")
}

/// A sample: when, and what.
type One = (i64, Values);

fn rows(connection: &Connection, series: i64, (start, end): (i64, i64)) -> Result<Vec<One>, StoreError> {
    all(connection.prepare_cached(&rows_sql())?, params![series, start, end], "samples", sample_row::decode)
}

fn series_of(connection: &Connection, id: &SandboxId) -> Result<Option<i64>, StoreError> {
    let statement = connection.prepare_cached("SELECT no FROM series WHERE sandbox_id = ?")?;
    first(statement, [id.as_str()], "series", |cells| cells.plain("no"))
}

/// Samples one by one, from rows and blocks, in the order of time.
fn single(connection: &Connection, series: i64, range: (i64, i64)) -> Result<Vec<One>, StoreError> {
    if range.0 > range.1 {
        return Ok(Vec::new());
    }
    let mut samples = Vec::new();
    let take = |point: Point| samples.push((point.at, point.values(Aggregate::Max)));
    read_blocks(connection, series, SAMPLES, range, take)?;
    samples.extend(rows(connection, series, range)?);
    samples.sort_by_key(|(at, _)| *at);
    Ok(samples)
}

/// Joins what [`single`] gives.
fn join_single(
    connection: &Connection,
    series: i64,
    range: (i64, i64),
    spans: &mut Spans,
) -> Result<(), StoreError> {
    if range.0 > range.1 {
        return Ok(());
    }
    read_blocks(connection, series, SAMPLES, range, |point| spans.add(&point))?;
    rows(connection, series, range)?.iter().for_each(|(at, values)| spans.add(&Point::one(*at, values)));
    Ok(())
}

/// One point per step. Whole spans come from the coarsest level that divides the step; what the range cuts off at its
/// ends, and what is not sealed yet, from samples. So the answer is the same as if all were samples still.
fn stepped(
    connection: &Connection,
    series: i64,
    (start, end): (i64, i64),
    step_usec: i64,
) -> Result<Spans, StoreError> {
    let mut spans = Spans::new(step_usec);
    let level = SPANS.into_iter().find(|level| step_usec % (level * SECOND) == 0);
    let Some(level) = level else {
        join_single(connection, series, (start, end), &mut spans)?;
        return Ok(spans);
    };
    let span = level * SECOND;
    let floor = |at: i64| at - at.rem_euclid(span);
    // The extremes stand for no bound at all.
    let whole_from = if start < i64::MIN + span { start } else { floor(start.saturating_add(span - 1)) };
    let whole_to = if end > i64::MAX - span { end } else { floor(end + 1) - 1 };
    if whole_from > whole_to {
        join_single(connection, series, (start, end), &mut spans)?;
        return Ok(spans);
    }
    read_blocks(connection, series, level, (whole_from, whole_to), |point| spans.add(&point))?;
    let open = rows(connection, series, (whole_from, whole_to))?;
    open.iter().for_each(|(at, values)| spans.add(&Point::one(*at, values)));
    if start < whole_from {
        join_single(connection, series, (start, whole_from - 1), &mut spans)?;
    }
    if whole_to < end {
        join_single(connection, series, (whole_to + 1, end), &mut spans)?;
    }
    Ok(spans)
}

/// The newest samples of a series, `n` at most, oldest first. What is older than the newest block is not looked for:
/// it has enough for whoever asks for a few.
fn newest(connection: &Connection, series: i64, n: u32) -> Result<Vec<One>, StoreError> {
    let columns = sample_row::COLUMNS;
    let sql = format!("SELECT {columns} FROM samples WHERE series = ? ORDER BY at DESC LIMIT ?");
    let mut samples =
        all(connection.prepare_cached(&sql)?, params![series, n], "samples", sample_row::decode)?;
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    if samples.len() < n {
        let statement = connection.prepare_cached(
            "SELECT no, data FROM blocks WHERE series = ? AND level = 0 ORDER BY first_at DESC LIMIT 1",
        )?;
        let block = first(statement, [series], "blocks", |cells| {
            Ok((cells.plain::<i64>("no")?, cells.plain::<Vec<u8>>("data")?))
        })?;
        if let Some((no, data)) = block {
            let mut sealed = Vec::new();
            let take = |point: Point| sealed.push((point.at, point.values(Aggregate::Max)));
            read_block((no, SAMPLES), &data, (i64::MIN, i64::MAX), take)?;
            samples.extend(sealed.into_iter().rev().take(n - samples.len()));
        }
    }
    samples.sort_by_key(|(at, _)| *at);
    Ok(samples)
}

impl Samples {
    /// Stores samples, in one transaction. A second sample of a sandbox at the same time replaces the first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn insert_samples(&self, samples: Vec<Sample>) -> Result<(), StoreError> {
        self.file().write(move |tx| samples.iter().try_for_each(|sample| insert(tx, sample))).await
    }

    /// The sandbox's samples from `start` to `end`, both inclusive, oldest first. With a step there is one sample for
    /// each span of that many seconds that has any: at the start of the span, each value the largest in it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn samples(
        &self,
        id: &SandboxId,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
        step_s: Option<u32>,
    ) -> Result<Vec<Sample>, StoreError> {
        self.aggregated_samples(id, start, end, step_s, Aggregate::Max).await
    }

    /// The same with another value standing for the samples of a step.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn aggregated_samples(
        &self,
        id: &SandboxId,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
        step_s: Option<u32>,
        aggregate: Aggregate,
    ) -> Result<Vec<Sample>, StoreError> {
        let id = id.clone();
        let start = start.map_or(i64::MIN, Timestamp::as_microsecond);
        let end = end.map_or(i64::MAX, Timestamp::as_microsecond);
        let op = move |connection: &Connection| {
            // One view of the file: what is sealed meanwhile is seen in its rows or in its block.
            let view = connection.unchecked_transaction()?;
            let Some(series) = series_of(&view, &id)? else { return Ok(Vec::new()) };
            Ok(match step_s {
                None => {
                    let samples = single(&view, series, (start, end))?;
                    samples.into_iter().filter_map(|(at, values)| sample(&id, at, values)).collect()
                }
                Some(step) => {
                    let spans = stepped(&view, series, (start, end), i64::from(step.max(1)) * SECOND)?;
                    spans.into_points().filter_map(|point| point.sample(&id, aggregate)).collect()
                }
            })
        };
        self.file().read(op).await
    }

    /// When the sandbox's first and last sample were taken.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn sample_range(&self, id: &SandboxId) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let id = id.clone();
        let op = move |connection: &Connection| {
            let Some(series) = series_of(connection, &id)? else { return Ok(None) };
            // Subqueries, because MIN and MAX in one would read every sample. The spans of what is sealed lie within
            // the same hour as its samples; where both are kept, the samples' own times are the exact ones.
            let statement = connection.prepare_cached(
                "SELECT (SELECT MIN(at) FROM samples WHERE series = ?1) AS row_min,
                     (SELECT MAX(at) FROM samples WHERE series = ?1) AS row_max,
                     (SELECT MIN(first_at) FROM blocks WHERE series = ?1 AND level = 0) AS block_min,
                     (SELECT MAX(last_at) FROM blocks WHERE series = ?1 AND level = 0) AS block_max,
                     (SELECT MIN(first_at) FROM blocks WHERE series = ?1 AND level = 300) AS span_min,
                     (SELECT MAX(last_at) FROM blocks WHERE series = ?1 AND level = 300) AS span_max",
            )?;
            let bounds = first(statement, [series], "samples", |cells| {
                Ok([
                    cells.optional_time("row_min")?,
                    cells.optional_time("row_max")?,
                    cells.optional_time("block_min")?,
                    cells.optional_time("block_max")?,
                    cells.optional_time("span_min")?,
                    cells.optional_time("span_max")?,
                ])
            })?;
            let [row_min, row_max, block_min, block_max, span_min, span_max] = bounds.unwrap_or_default();
            let hour = std::time::Duration::from_secs(3600);
            // Older spans, of which the samples are gone already.
            let older =
                |span: Timestamp, block: Timestamp| span.checked_add(hour).is_ok_and(|later| later < block);
            let min = match (block_min.or(row_min), span_min) {
                (Some(samples), Some(spans)) if older(spans, samples) => Some(spans),
                (Some(samples), _) => Some(row_min.map_or(samples, |row| row.min(samples))),
                (None, spans) => spans,
            };
            let max = row_max.max(block_max).or(span_max);
            Ok(min.zip(max))
        };
        self.file().read(op).await
    }

    /// The sandbox's newest samples, `n` at most, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn newest_samples(&self, id: &SandboxId, n: u32) -> Result<Vec<Sample>, StoreError> {
        let id = id.clone();
        let op = move |connection: &Connection| {
            let view = connection.unchecked_transaction()?;
            let Some(series) = series_of(&view, &id)? else { return Ok(Vec::new()) };
            let newest = newest(&view, series, n)?;
            Ok(newest.into_iter().filter_map(|(at, values)| sample(&id, at, values)).collect())
        };
        self.file().read(op).await
    }

    /// The newest sample of each of the sandboxes; those without one are left out.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn latest_samples(&self, ids: &[SandboxId]) -> Result<Vec<Sample>, StoreError> {
        let ids = ids.to_vec();
        let op = move |connection: &Connection| {
            let mut latest = Vec::with_capacity(ids.len());
            for id in &ids {
                if let Some(series) = series_of(connection, id)? {
                    let newest = newest(connection, series, 1)?.pop();
                    latest.extend(newest.and_then(|(at, values)| sample(id, at, values)));
                }
            }
            Ok(latest)
        };
        self.file().read(op).await
    }
}
