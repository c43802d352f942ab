//! A team's activity over time, from its log.

use rusqlite::{Connection, params};
use sandscope_model::{Activity, ActivityPoint, TeamId, Timestamp};

use crate::{Store, StoreError};

/// Times in the log are taken before an event's turn to be numbered: neighbours may stand the wrong way round by as
/// much as a commit takes.
const DISORDER: std::time::Duration = std::time::Duration::from_secs(60);

/// Sandboxes that ran after the team's last event. One that is being ended counts if it ran until then, which is
/// what its `killed` event will say.
const RUNNING: &str = "SELECT COUNT(*) FROM sandboxes WHERE team_no = ?1 AND state <> 'killed'
     AND (state IN ('running', 'pausing')
          OR (state = 'killing' AND json_extract(state_data, '$.execution') IS NOT NULL))";

/// What changed how many run: created, killed while running, paused, resumed; newest first.
const CHANGES: &str = "SELECT timestamp, CASE event_type WHEN 1 THEN 1 WHEN 5 THEN 1 WHEN 4 THEN -1
         ELSE CASE WHEN json_extract(data, '$.execution') IS NULL THEN 0 ELSE -1 END END, event_type = 1
     FROM events WHERE team_no = ?1 AND event_type IN (1, 2, 4, 5) ORDER BY sequence DESC";

/// A team's activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamActivity {
    /// Every step, oldest first.
    pub points: Vec<ActivityPoint>,
    /// When the most sandboxes ran at once, and how many.
    pub peak: Option<(Timestamp, u32)>,
}

fn read(
    connection: &Connection,
    team: TeamId,
    (start, end): (Timestamp, Timestamp),
    step_s: u32,
    max_points: usize,
) -> Result<TeamActivity, StoreError> {
    // The log and the sandboxes' states of one moment.
    let view = connection.unchecked_transaction()?;
    let no: i64 = view
        .prepare_cached("SELECT no FROM teams WHERE id = ?")?
        .query_row([team.as_uuid().as_bytes()], |row| row.get(0))?;
    let n_running: u32 = view.prepare_cached(RUNNING)?.query_row([no], |row| row.get(0))?;
    let mut activity = Activity::new(start, end, step_s, n_running, max_points);
    let mut statement = view.prepare_cached(CHANGES)?;
    let mut rows = statement.query(params![no])?;
    while let Some(row) = rows.next()? {
        let corrupt =
            || StoreError::Corrupt { table: "events", column: "timestamp", row: "of a team".to_owned() };
        let at = Timestamp::from_microsecond(row.get(0)?).map_err(|_| corrupt())?;
        if activity.is_before_start(at.checked_add(DISORDER).unwrap_or(at)) {
            break;
        }
        activity.take(at, row.get(1)?, row.get(2)?);
    }
    let (points, peak) = activity.finish();
    Ok(TeamActivity { points, peak })
}

impl Store {
    /// How many sandboxes the team ran at once and how many it created, in steps of `step_s` seconds from `start` to
    /// `end`, `max_points` steps at most. Reads the log from its end back to `start`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn team_activity(
        &self,
        team: TeamId,
        start: Timestamp,
        end: Timestamp,
        step_s: u32,
        max_points: usize,
    ) -> Result<TeamActivity, StoreError> {
        let op = move |connection: &Connection| read(connection, team, (start, end), step_s, max_points);
        self.facts().read(op).await
    }
}
