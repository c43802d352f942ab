//! Samples of the sandboxes' metrics, in a file of their own.

use rusqlite::{Connection, params};
use sandscope_model::{Sample, SandboxId, Timestamp};

use crate::row::{Cells, all, first, integer};
use crate::writer::Tx;
use crate::{Store, StoreError};

const COLUMNS: &str = "at, cpu_used_centi_pct, cpu_count, mem_used_bytes, mem_total_bytes, mem_cache_bytes, \
     disk_used_bytes, disk_total_bytes";

fn decode(cells: &mut Cells<'_, '_>, sandbox_id: &SandboxId) -> Result<Sample, StoreError> {
    Ok(Sample {
        sandbox_id: sandbox_id.clone(),
        at: cells.time("at")?,
        cpu_used_pct: f64::from(cells.number::<u32>("cpu_used_centi_pct")?) / 100.0,
        cpu_count: cells.number("cpu_count")?,
        mem_used_bytes: cells.number("mem_used_bytes")?,
        mem_total_bytes: cells.number("mem_total_bytes")?,
        mem_cache_bytes: cells.number("mem_cache_bytes")?,
        disk_used_bytes: cells.number("disk_used_bytes")?,
        disk_total_bytes: cells.number("disk_total_bytes")?,
    })
}

/// Hundredths of a percent. Not a number counts as nothing used.
fn centi_pct(pct: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "bounded by clamp; a cast of NaN gives 0")]
    let centi = (pct * 100.0).round().clamp(0.0, 1_000_000.0) as i64;
    centi
}

fn insert(tx: &Tx<'_>, sample: &Sample) -> Result<(), StoreError> {
    let id = sample.sandbox_id.as_str();
    let mut find = tx.prepare_cached("SELECT no FROM series WHERE sandbox_id = ?")?;
    let known: Option<i64> = rusqlite::OptionalExtension::optional(find.query_row([id], |row| row.get(0)))?;
    let series = match known {
        Some(series) => series,
        None => {
            tx.prepare_cached("INSERT INTO series (sandbox_id) VALUES (?)")?.execute([id])?;
            tx.last_insert_rowid()
        }
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO samples (series, at, cpu_used_centi_pct, cpu_count, mem_used_bytes,
             mem_total_bytes, mem_cache_bytes, disk_used_bytes, disk_total_bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        series,
        sample.at.as_microsecond(),
        centi_pct(sample.cpu_used_pct),
        sample.cpu_count,
        integer(sample.mem_used_bytes),
        integer(sample.mem_total_bytes),
        integer(sample.mem_cache_bytes),
        integer(sample.disk_used_bytes),
        integer(sample.disk_total_bytes),
    ])?;
    Ok(())
}

/// The query for a sandbox (`?1`) from (`?2`) to (`?3`), in steps of `?4` microseconds if there are any.
pub(crate) fn range_sql(step_usec: Option<i64>) -> String {
    let condition = "series = (SELECT no FROM series WHERE sandbox_id = ?1) AND at BETWEEN ?2 AND ?3";
    match step_usec {
        None => format!("SELECT {COLUMNS} FROM samples WHERE {condition} ORDER BY at"),
        Some(_) => format!(
            "SELECT at - at % ?4, MAX(cpu_used_centi_pct), MAX(cpu_count), MAX(mem_used_bytes),
                 MAX(mem_total_bytes), MAX(mem_cache_bytes), MAX(disk_used_bytes), MAX(disk_total_bytes)
             FROM samples WHERE {condition} GROUP BY 1 ORDER BY 1"
        ),
    }
}

fn range(
    connection: &Connection,
    id: &SandboxId,
    start: i64,
    end: i64,
    step_usec: Option<i64>,
) -> Result<Vec<Sample>, StoreError> {
    let statement = connection.prepare_cached(&range_sql(step_usec))?;
    match step_usec {
        None => all(statement, params![id.as_str(), start, end], "samples", |cells| decode(cells, id)),
        Some(step) => {
            all(statement, params![id.as_str(), start, end, step], "samples", |cells| decode(cells, id))
        }
    }
}

impl Store {
    /// Stores samples, in one transaction. A second sample of a sandbox at the same time replaces the first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn insert_samples(&self, samples: Vec<Sample>) -> Result<(), StoreError> {
        self.inner.samples.write(move |tx| samples.iter().try_for_each(|sample| insert(tx, sample))).await
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
        let id = id.clone();
        let start = start.map_or(i64::MIN, Timestamp::as_microsecond);
        let end = end.map_or(i64::MAX, Timestamp::as_microsecond);
        let step_usec = step_s.map(|step| i64::from(step.max(1)) * 1_000_000);
        self.inner.samples.read(move |connection| range(connection, &id, start, end, step_usec)).await
    }

    /// When the sandbox's first and last sample were taken.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn sample_range(&self, id: &SandboxId) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let id = id.clone();
        let op = move |connection: &Connection| {
            // Two subqueries, because MIN and MAX in one would read every sample.
            let statement = connection.prepare_cached(
                "SELECT (SELECT MIN(at) FROM samples WHERE series = s.no),
                     (SELECT MAX(at) FROM samples WHERE series = s.no)
                 FROM series s WHERE s.sandbox_id = ?",
            )?;
            first(statement, [id.as_str()], "samples", |cells| {
                Ok(cells.optional_time("at")?.zip(cells.optional_time("at")?))
            })
        };
        Ok(self.inner.samples.read(op).await?.flatten())
    }

    /// The sandbox's newest samples, `n` at most, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn newest_samples(&self, id: &SandboxId, n: u32) -> Result<Vec<Sample>, StoreError> {
        let id = id.clone();
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM samples WHERE series = (SELECT no FROM series WHERE sandbox_id = ?1)
                 ORDER BY at DESC LIMIT ?2"
            );
            let statement = connection.prepare_cached(&sql)?;
            let mut newest = all(statement, params![id.as_str(), n], "samples", |cells| decode(cells, &id))?;
            newest.reverse();
            Ok(newest)
        };
        self.inner.samples.read(op).await
    }

    /// The newest sample of each of the sandboxes; those without one are left out.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn latest_samples(&self, ids: &[SandboxId]) -> Result<Vec<Sample>, StoreError> {
        let ids = ids.to_vec();
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM samples WHERE series = (SELECT no FROM series WHERE sandbox_id = ?)
                 ORDER BY at DESC LIMIT 1"
            );
            let mut latest = Vec::with_capacity(ids.len());
            for id in &ids {
                let statement = connection.prepare_cached(&sql)?;
                latest.extend(first(statement, [id.as_str()], "samples", |cells| decode(cells, id))?);
            }
            Ok(latest)
        };
        self.inner.samples.read(op).await
    }
}
