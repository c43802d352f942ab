//! Where exports of events and logs stand: cursors over what is stored anyway, moved after what they pass was taken.
//!
//! They lie in the file of the logs. A power cut may take the last moves back: what was exported then is exported again
//! and never passed over, for no event is in a less durable place than its cursor, and the logs go back with theirs.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use sandscope_model::{LogEntry, SandboxId, TeamId};

use crate::logs::streams::decode_entry;
use crate::sqlite::row::{all, integer, only};
use crate::sqlite::writer::Tx;
use crate::{Logs, StoreError};

const LOGS: &str = "logs";
const EVENTS: &str = "events";

fn key(team: TeamId) -> String {
    format!("{EVENTS}/{team}")
}

/// One entry of a sandbox's log, with its number over all logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEntry {
    /// Its number: higher than that of everything stored before it, with gaps.
    pub no: u64,
    /// Whose log it is in.
    pub sandbox_id: SandboxId,
    /// The entry.
    pub entry: LogEntry,
}

fn find(connection: &Connection, what: &str) -> Result<Option<u64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT upto FROM exports WHERE what = ?")?;
    let upto: Option<i64> = statement.query_row([what], only).optional()?;
    Ok(upto.map(|upto| u64::try_from(upto).unwrap_or(0)))
}

fn set(tx: &Tx<'_>, what: &str, upto: u64) -> Result<(), StoreError> {
    let sql = "INSERT INTO exports (what, upto) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET upto = ?2";
    tx.prepare_cached(sql)?.execute(params![what, integer(upto)])?;
    Ok(())
}

fn newest(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT COALESCE(MAX(no), 0) FROM entries";
    let no: i64 = connection.prepare_cached(sql)?.query_row([], only)?;
    Ok(u64::try_from(no).unwrap_or(0))
}

/// The query for entries of any log numbered above `?1`, `?2` at most.
pub(crate) const AFTER: &str =
    "SELECT e.no, e.at, e.level, e.source, e.pid, e.event_type, e.message, s.sandbox_id
     FROM entries e JOIN streams s ON s.no = e.stream WHERE e.no > ?1 ORDER BY e.no LIMIT ?2";

impl Logs {
    /// Up to which number logs have been exported. Begins now, at the end of what is there, where nothing ever was.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn begin_log_export(&self) -> Result<u64, StoreError> {
        let op = |tx: &mut Tx<'_>| {
            let (found, newest) = (find(tx, LOGS)?, newest(tx)?);
            // Numbers start over once everything was removed.
            let upto =
                found.filter(|upto| *upto <= newest).unwrap_or(if found.is_some() { 0 } else { newest });
            set(tx, LOGS, upto)?;
            Ok(upto)
        };
        self.file().write(op).await
    }

    /// Says that logs have been exported up to number `upto`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn move_log_export(&self, upto: u64) -> Result<(), StoreError> {
        self.file().write(move |tx| set(tx, LOGS, upto)).await
    }

    /// Passes over what has not been exported yet: events up to `ends`, and all entries of logs.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn pass_over_exports(&self, ends: BTreeMap<TeamId, u64>) -> Result<(), StoreError> {
        let op = move |tx: &mut Tx<'_>| {
            if find(tx, EVENTS)?.is_some() {
                for (team, upto) in &ends {
                    set(tx, &key(*team), *upto)?;
                }
            }
            if find(tx, LOGS)?.is_some() {
                set(tx, LOGS, newest(tx)?)?;
            }
            Ok(())
        };
        self.file().write(op).await
    }

    /// The number of the newest entry of all logs; 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn newest_log(&self) -> Result<u64, StoreError> {
        self.file().read(newest).await
    }

    /// The entries of all logs that follow number `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn logs_after(&self, after: u64, limit: u32) -> Result<Vec<NumberedEntry>, StoreError> {
        let op = move |connection: &Connection| {
            all(connection.prepare_cached(AFTER)?, params![integer(after), limit], "entries", |cells| {
                let (no, entry) = decode_entry(cells)?;
                Ok(NumberedEntry { no, entry, sandbox_id: cells.id("sandbox_id")? })
            })
        };
        self.file().read(op).await
    }

    /// Up to which number each team's events have been exported. A team that is not in it starts at its first event,
    /// but for the very first time: then each starts at the end of its log, which `ends` says of every team.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn begin_event_export(
        &self,
        ends: BTreeMap<TeamId, u64>,
    ) -> Result<BTreeMap<TeamId, u64>, StoreError> {
        let mut cursors = ends;
        let op = move |tx: &mut Tx<'_>| {
            let is_first = find(tx, EVENTS)?.is_none();
            for (team, upto) in &mut cursors {
                if is_first {
                    set(tx, &key(*team), *upto)?;
                } else {
                    *upto = find(tx, &key(*team))?.unwrap_or(0);
                }
            }
            set(tx, EVENTS, 0)?;
            Ok(cursors)
        };
        self.file().write(op).await
    }

    /// Says that the team's events have been exported up to number `upto`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn move_event_export(&self, team: TeamId, upto: u64) -> Result<(), StoreError> {
        self.file().write(move |tx| set(tx, &key(team), upto)).await
    }
}
