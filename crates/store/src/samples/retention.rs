//! Rows of samples that were never sealed go after a week, in bounded batches; blocks have times of their own
//! ([`Samples::drop_samples`]).

use rusqlite::params;
use sandscope_model::Timestamp;

use crate::samples::sealed::forget_if_empty;
use crate::sqlite::row::only;
use crate::sqlite::writer::Tx;
use crate::{Samples, StoreError};

/// Rows deleted in one operation.
const BATCH: u32 = 500;
/// Series looked at in one operation.
const SERIES_BATCH: u32 = 64;
/// How long rows are kept.
const LIFETIME_USEC: i64 = 7 * 24 * 3600 * 1_000_000;

/// Where the walk over the series goes on, and what was deleted on the way.
struct Walk {
    next: Option<i64>,
    deleted: u64,
}

fn forget_samples(tx: &Tx<'_>, after: i64, cutoff: i64) -> Result<Walk, StoreError> {
    let series: Vec<i64> = tx
        .prepare_cached("SELECT no FROM series WHERE no > ? ORDER BY no LIMIT ?")?
        .query_map(params![after, SERIES_BATCH], only)?
        .collect::<Result<_, _>>()?;
    let mut deleted = 0;
    for no in &series {
        // The end of a batch from the series' beginning, so that one series cannot make an operation long.
        let last: Option<i64> = tx
            .prepare_cached(
                "SELECT MAX(at) FROM (SELECT at FROM samples WHERE series = ? AND at < ? ORDER BY at LIMIT ?)",
            )?
            .query_row(params![no, cutoff, BATCH], only)?;
        let Some(last) = last else { continue };
        let n = count(
            tx.prepare_cached("DELETE FROM samples WHERE series = ? AND at <= ?")?.execute([*no, last])?,
        );
        deleted += n;
        forget_if_empty(tx, *no)?;
        if n >= u64::from(BATCH) {
            return Ok(Walk { next: Some(no - 1), deleted });
        }
    }
    let next = if count(series.len()) < u64::from(SERIES_BATCH) { None } else { series.last().copied() };
    Ok(Walk { next, deleted })
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Samples {
    /// Removes samples older than 7 days at `now` that are no part of a block; returns how many.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. What was removed until then stays removed.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let cutoff = now.as_microsecond().saturating_sub(LIFETIME_USEC);
        let (mut after, mut n_deleted) = (Some(0), 0);
        while let Some(position) = after {
            let walk = self.file().write(move |tx| forget_samples(tx, position, cutoff)).await?;
            n_deleted += walk.deleted;
            after = walk.next;
        }
        Ok(n_deleted)
    }
}
