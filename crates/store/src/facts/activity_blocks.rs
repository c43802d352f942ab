//! Stretches of a team's log, summed up, so that a long range is not read event by event.
//!
//! ```text
//!   level 3:  32,768 events  ├───────────────────────┤
//!   level 2:   1,024 events  ├───┤├───┤ …
//!   level 1:      32 events  ├┤├┤├┤ …
//!   the log                  ·········· …                  (what is not summed up yet is read here)
//! ```
//!
//! Blocks never change, because the log does not; they go when retention cuts the log within or behind them. They are made
//! from the log in the background ([`EventLog::sum_up_activity`]), read by a reader, so that no commit waits for it.

use rusqlite::{Connection, params};
use sandscope_model::{ActivityBlock, ActivityChange, EventType};

use crate::facts::forms::event::EventForm;
use crate::sqlite::row::{Cells, all, only};
use crate::{EventLog, StoreError};

/// Events of a block of the first level, and blocks of the next lower level of all others.
pub(crate) const FAN_OUT: i64 = 32;
/// The coarsest level.
pub(crate) const TOP: u32 = 3;
/// Events summed up in one go.
const BATCH: i64 = 32_768;

/// Events of a block.
pub(crate) const fn size(level: u32) -> i64 {
    FAN_OUT.pow(level)
}

/// What changed how many run, oldest first, from `?2` up to `?3`, and what may have.
pub(crate) const CHANGES: &str =
    "SELECT sequence, timestamp, event_type, change, CASE WHEN change IS NULL THEN data END AS data
     FROM events WHERE team_no = ?1 AND sequence BETWEEN ?2 AND ?3 AND change IS NOT 0
     ORDER BY sequence";

/// The changes in a part of the log, each with its number, oldest first.
pub(crate) fn changes(
    connection: &Connection,
    team_no: i64,
    (first, last): (i64, i64),
) -> Result<Vec<(i64, ActivityChange)>, StoreError> {
    let statement = connection.prepare_cached(CHANGES)?;
    let mut found = all(statement, params![team_no, first, last], "events", |cells| {
        let sequence = cells.plain("sequence")?;
        let at_ms = cells.time("timestamp")?.as_millisecond();
        let kind = cells.event_type("event_type")?;
        let stored: Option<i32> = cells.plain("change")?;
        let change = match stored {
            Some(change) => change,
            // From a version before the column.
            None => cells.json::<EventForm<'_>>("data")?.concurrency_change(kind),
        };
        Ok((sequence, ActivityChange { at_ms, change, is_creation: kind == EventType::Created }))
    })?;
    found.retain(|(_, change)| change.change != 0);
    Ok(found)
}

/// A block as stored; nothing if nothing happened in it.
pub(crate) type Stored = (i64, Option<ActivityBlock>);

fn decode(cells: &mut Cells<'_, '_>) -> Result<Stored, StoreError> {
    let block = cells.plain("block")?;
    let Some(first_ms) = cells.plain("first_ms")? else { return Ok((block, None)) };
    let (last_ms, change) = (cells.plain("last_ms")?, cells.plain("change")?);
    let n_created = cells.number("n_created")?;
    let peak: Option<i64> = cells.plain("peak")?;
    let peak_ms: Option<i64> = cells.plain("peak_ms")?;
    Ok((block, Some(ActivityBlock { first_ms, last_ms, change, n_created, peak: peak.zip(peak_ms) })))
}

/// The blocks of a level from `first` to `last`, the newest first.
pub(crate) fn read(
    connection: &Connection,
    team_no: i64,
    level: u32,
    (first, last): (i64, i64),
) -> Result<Vec<Stored>, StoreError> {
    let statement = connection.prepare_cached(
        "SELECT block, first_ms, last_ms, change, n_created, peak, peak_ms FROM activity_blocks
         WHERE team_no = ? AND level = ? AND block BETWEEN ? AND ? ORDER BY block DESC",
    )?;
    all(statement, params![team_no, level, first, last], "activity_blocks", decode)
}

/// Blocks that are made in one go, of one team and level.
pub(crate) struct Batch {
    team_no: i64,
    level: u32,
    blocks: Vec<Stored>,
}

/// The next blocks that can be made of a level.
pub(crate) fn next(connection: &Connection, team_no: i64, level: u32) -> Result<Option<Batch>, StoreError> {
    let view = connection.unchecked_transaction()?;
    let (first, last): (Option<i64>, i64) = view
        .prepare_cached(
            "SELECT (SELECT MIN(sequence) FROM events WHERE team_no = no) AS first, last_sequence FROM teams WHERE no = ?",
        )?
        .query_row([team_no], |row| Ok((row.get("first")?, row.get("last_sequence")?)))?;
    let Some(first) = first else { return Ok(None) };
    let newest: Option<i64> = view
        .prepare_cached("SELECT MAX(block) FROM activity_blocks WHERE team_no = ? AND level = ?")?
        .query_row(params![team_no, level], only)?;
    let size = size(level);
    // Of numbers from 1 on, the first block is one short.
    let whole = if first <= 1 { 0 } else { (first + size - 1) / size };
    let from = newest.map_or(whole, |newest| newest + 1).max(whole);
    let to = ((last + 1) / size - 1).min(from + BATCH / size - 1);
    if to < from {
        return Ok(None);
    }
    let found = changes(&view, team_no, (from * size, (to + 1) * size - 1))?;
    let mut rest = found.as_slice();
    let blocks = (from..=to).map(|block| {
        let n = rest.partition_point(|(sequence, _)| *sequence < (block + 1) * size);
        let (of_block, after) = rest.split_at(n);
        rest = after;
        let of_block: Vec<ActivityChange> = of_block.iter().map(|(_, change)| *change).collect();
        (block, ActivityBlock::of(&of_block))
    });
    Ok(Some(Batch { team_no, level, blocks: blocks.collect() }))
}

pub(crate) fn insert(tx: &Connection, batch: Batch) -> Result<(), StoreError> {
    let Batch { team_no, level, blocks } = batch;
    let first: Option<i64> = tx
        .prepare_cached("SELECT MIN(sequence) FROM events WHERE team_no = ?")?
        .query_row([team_no], only)?;
    let mut statement = tx.prepare_cached(
        "INSERT OR IGNORE INTO activity_blocks
             (team_no, level, block, first_ms, last_ms, change, n_created, peak, peak_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for (block, summed_up) in blocks {
        // Retention may have cut the log meanwhile.
        let is_whole = first.is_some_and(|first| first <= (block * size(level)).max(1));
        if is_whole {
            statement.execute(params![
                team_no,
                level,
                block,
                summed_up.map(|b| b.first_ms),
                summed_up.map(|b| b.last_ms),
                summed_up.map(|b| b.change),
                summed_up.map(|b| b.n_created),
                summed_up.and_then(|b| b.peak).map(|(peak, _)| peak),
                summed_up.and_then(|b| b.peak).map(|(_, at_ms)| at_ms),
            ])?;
        }
    }
    Ok(())
}

/// Forgets the blocks of a log that is cut behind `last`.
pub(crate) fn cut(tx: &Connection, team_no: i64, last: i64) -> Result<(), StoreError> {
    for level in 1..=TOP {
        tx.prepare_cached("DELETE FROM activity_blocks WHERE team_no = ? AND level = ? AND block <= ?")?
            .execute(params![team_no, level, last / size(level)])?;
    }
    Ok(())
}

impl EventLog {
    /// Sums up what has been added to every team's log; says how many blocks that made. Reads each event as often as
    /// there are levels, once.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. What is missing is read from the log itself.
    pub async fn sum_up_activity(&self) -> Result<usize, StoreError> {
        let teams = |connection: &Connection| {
            all(connection.prepare_cached("SELECT no FROM teams")?, [], "teams", |cells| cells.plain("no"))
        };
        let mut n_blocks = 0;
        for team_no in self.file().read(teams).await? {
            for level in 1..=TOP {
                while let Some(batch) = self.file().read(move |c| next(c, team_no, level)).await? {
                    n_blocks += batch.blocks.len();
                    self.file().write(move |tx| insert(tx, batch)).await?;
                }
            }
        }
        Ok(n_blocks)
    }
}
