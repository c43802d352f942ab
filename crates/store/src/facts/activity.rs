//! A team's activity over time, from its log.
//!
//! The log is walked from its end back to the beginning of the range, in blocks that are summed up: a block that lies
//! within one step, or outside the range, is taken as a whole, and only those that a step's end cuts are looked into. So
//! the time it takes goes with the number of steps, not of events.

use rusqlite::Connection;
use sandscope_model::{Activity, ActivityPoint, TeamId, Timestamp};

use crate::facts::activity_blocks::{FAN_OUT, TOP, changes, read, size};
use crate::facts::teams::team_no;
use crate::sqlite::row::only;
use crate::{EventLog, StoreError};

/// Sandboxes that ran after the team's last event. One that is being ended counts if it ran until then, which is
/// what its `killed` event will say.
const RUNNING: &str = "SELECT COUNT(*) FROM sandboxes WHERE team_no = ?1 AND state <> 'killed' AND runs";

/// A team's activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamActivity {
    /// Every step, oldest first.
    pub points: Vec<ActivityPoint>,
    /// When the most sandboxes ran at once, and how many.
    pub peak: Option<(Timestamp, u32)>,
}

/// A walk back over a log.
struct Walk<'a> {
    view: &'a Connection,
    team_no: i64,
    /// The numbers of the log's first and last event.
    first: i64,
    last: i64,
    activity: Activity,
}

impl Walk<'_> {
    /// Takes the blocks of a level from `from` to `to`, the newest first; `false` once the range is behind.
    fn blocks(&mut self, level: u32, (from, to): (i64, i64)) -> Result<bool, StoreError> {
        let mut stored = read(self.view, self.team_no, level, (from, to))?.into_iter().peekable();
        for block in (from..=to).rev() {
            match stored.next_if(|(found, _)| *found == block) {
                Some((_, None)) => continue,
                Some((_, Some(summed_up))) => {
                    if self.activity.is_over(summed_up.last_ms) {
                        return Ok(false);
                    }
                    if self.activity.take_block(&summed_up) {
                        continue;
                    }
                }
                // Not summed up yet, or cut by retention.
                None => {}
            }
            let goes_on = if level == 1 {
                self.events(block)?
            } else {
                self.blocks(level - 1, (block * FAN_OUT, (block + 1) * FAN_OUT - 1))?
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the events of a block one by one.
    fn events(&mut self, block: i64) -> Result<bool, StoreError> {
        let (from, to) = (block * size(1), (block + 1) * size(1) - 1);
        if to < self.first || from > self.last {
            return Ok(true);
        }
        for (_, change) in changes(self.view, self.team_no, (from, to))?.into_iter().rev() {
            if self.activity.is_over(change.at_ms) {
                return Ok(false);
            }
            self.activity.take(change);
        }
        Ok(true)
    }
}

fn activity(
    connection: &Connection,
    team: TeamId,
    (start, end): (Timestamp, Timestamp),
    step_s: u32,
    max_points: usize,
) -> Result<TeamActivity, StoreError> {
    // The log and the sandboxes' states of one moment.
    let view = connection.unchecked_transaction()?;
    let team_no = team_no(&view, team)?;
    let n_running: u32 = view.prepare_cached(RUNNING)?.query_row([team_no], only)?;
    let (first, last): (Option<i64>, i64) = view
        .prepare_cached(
            "SELECT (SELECT MIN(sequence) FROM events WHERE team_no = no) AS first, last_sequence FROM teams WHERE no = ?",
        )?
        .query_row([team_no], |row| Ok((row.get("first")?, row.get("last_sequence")?)))?;
    let activity = Activity::new(start, end, step_s, n_running, max_points);
    let mut walk = Walk { view: &view, team_no, first: first.unwrap_or(last + 1), last, activity };
    walk.blocks(TOP, (walk.first / size(TOP), last / size(TOP)))?;
    let (points, peak) = walk.activity.finish();
    Ok(TeamActivity { points, peak })
}

impl EventLog {
    /// How many sandboxes the team ran at once and how many it created, in steps of `step_s` seconds from `start` to
    /// `end`, `max_points` steps at most.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be read.
    pub async fn team_activity(
        &self,
        team: TeamId,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
        max_points: usize,
    ) -> Result<TeamActivity, StoreError> {
        let op = move |connection: &Connection| activity(connection, team, (start, end), step_s, max_points);
        self.file().read(op).await
    }
}

#[cfg(test)]
#[path = "activity_tests.rs"]
mod tests;
