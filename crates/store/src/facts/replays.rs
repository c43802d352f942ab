//! Replays: events sent to a webhook again on request. A replay is a cursor of its own over a part of the log; what it
//! selects becomes an exception that is due at once, in the same transaction in which the cursor moves.

use rusqlite::{Connection, params};
use sandscope_model::{Event, Replay, ReplayId, Selection, TeamId, Timestamp, WebhookId};

use crate::facts::{events, webhooks};
use crate::sqlite::row::{Cells, all, first, integer, only, to_name};
use crate::sqlite::writer::Tx;
use crate::{Deliveries, ReplayStep, StoreError};

/// Events looked at in one read.
const STRETCH: u64 = 4096;
/// Replays a list shows.
const MAX_LISTED: u32 = 100;

const COLUMNS: &str =
    "id, webhook_id, selection, first, last, next, rate_per_second, state, n_selected, n_delivered,
     n_failed, n_dropped, created_at, finished_at, no";

/// A part of what a replay selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayPage {
    /// The events, and whether each had been given up (or passed over) before.
    pub events: Vec<(Event, bool)>,
    /// Where the next page starts; past the replay's last event if there is none.
    pub next: u64,
}

fn decode(cells: &mut Cells<'_, '_>) -> Result<(i64, Replay), StoreError> {
    let replay = Replay {
        id: cells.uuid("id")?,
        webhook_id: cells.uuid("webhook_id")?,
        selection: cells.name("selection")?,
        first: cells.number("first")?,
        last: cells.number("last")?,
        next: cells.number("next")?,
        rate_per_second: cells.optional_number("rate_per_second")?,
        state: cells.name("state")?,
        n_selected: cells.number("n_selected")?,
        n_delivered: cells.number("n_delivered")?,
        n_failed: cells.number("n_failed")?,
        n_dropped: cells.number("n_dropped")?,
        created_at: cells.time("created_at")?,
        finished_at: cells.optional_time("finished_at")?,
    };
    Ok((cells.plain("no")?, replay))
}

fn insert(tx: &mut Tx<'_>, replay: &Replay, max_running: u32) -> Result<bool, StoreError> {
    let webhook_id = replay.webhook_id.as_uuid().as_bytes();
    let n: u32 = tx
        .prepare_cached("SELECT COUNT(*) FROM replays WHERE webhook_id = ? AND state = 'running'")?
        .query_row([webhook_id], only)?;
    if n >= max_running {
        return Ok(false);
    }
    tx.prepare_cached(
        "INSERT INTO replays (id, webhook_id, selection, first, last, next, rate_per_second, state, created_at,
             finished_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        replay.id.as_uuid().as_bytes(),
        webhook_id,
        to_name(&replay.selection)?,
        integer(replay.first),
        integer(replay.last),
        integer(replay.next),
        replay.rate_per_second,
        to_name(&replay.state)?,
        replay.created_at.as_microsecond(),
        replay.finished_at.map(Timestamp::as_microsecond),
    ])?;
    tx.webhooks_changed();
    Ok(true)
}

/// Takes a step. A replay that was canceled meanwhile only counts.
pub(crate) fn advance(tx: &Tx<'_>, webhook: WebhookId, step: &ReplayStep) -> Result<(), StoreError> {
    let values = params![step.no];
    let sql = format!("SELECT {COLUMNS} FROM replays WHERE no = ?");
    let Some((_, replay)) = first(tx.prepare_cached(&sql)?, values, "replays", decode)? else {
        return Ok(());
    };
    if let Some(next) = step.next
        && replay.selection == Selection::Failed
        && next > replay.next
    {
        // From here on they are exceptions like others.
        webhooks::unskip(tx, webhook.as_uuid().as_bytes(), replay.next, next - 1)?;
    }
    tx.prepare_cached(
        "UPDATE replays SET next = MAX(next, ?2), n_selected = n_selected + ?3, n_delivered = n_delivered + ?4,
             n_failed = n_failed + ?5, n_dropped = n_dropped + ?6 WHERE no = ?1",
    )?
    .execute(params![
        step.no,
        integer(step.next.unwrap_or(0)),
        integer(step.n_selected),
        integer(step.n_delivered),
        integer(step.n_failed),
        integer(step.n_dropped),
    ])?;
    tx.prepare_cached(
        "UPDATE replays SET state = 'done', finished_at = ?2 WHERE no = ?1 AND state = 'running' AND next > last
             AND n_delivered + n_failed + n_dropped >= n_selected",
    )?
    .execute(params![step.no, step.at.as_microsecond()])?;
    Ok(())
}

fn cancel(tx: &mut Tx<'_>, webhook: WebhookId, id: ReplayId, now: i64) -> Result<bool, StoreError> {
    let n = tx
        .prepare_cached(
            "UPDATE replays SET state = 'canceled', finished_at = ?3
             WHERE webhook_id = ?1 AND id = ?2 AND state = 'running'",
        )?
        .execute(params![webhook.as_uuid().as_bytes(), id.as_uuid().as_bytes(), now])?;
    if n == 1 {
        tx.webhooks_changed();
    }
    Ok(n == 1)
}

fn page(
    connection: &Connection,
    team: TeamId,
    replay: &Replay,
    limit: u32,
) -> Result<ReplayPage, StoreError> {
    let end = replay.last.min(replay.next.saturating_add(STRETCH - 1));
    let sql = format!(
        "SELECT * FROM (
             SELECT {}, EXISTS (
                     SELECT 1 FROM exceptions x
                     WHERE x.webhook_id = ?2 AND x.sequence = events.sequence AND x.next_due_at IS NULL
                 ) OR EXISTS (
                     SELECT 1 FROM skipped s WHERE s.webhook_id = ?2 AND s.first <= events.sequence
                         AND s.last >= events.sequence
                 ) AS lost
             FROM events
             WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND sequence BETWEEN ?3 AND ?4
         ) WHERE ?5 OR lost ORDER BY sequence LIMIT ?6",
        events::COLUMNS
    );
    let values = params![
        team.as_uuid().as_bytes(),
        replay.webhook_id.as_uuid().as_bytes(),
        integer(replay.next),
        integer(end),
        replay.selection == Selection::All,
        limit,
    ];
    let events = all(connection.prepare_cached(&sql)?, values, "events", |cells| {
        let event = events::decode(cells, team)?;
        Ok((event, cells.plain("lost")?))
    })?;
    let is_full = events.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = match events.last() {
        Some((event, _)) if is_full => event.sequence + 1,
        _ => end + 1,
    };
    Ok(ReplayPage { events, next })
}

impl Deliveries {
    /// Starts a replay; `false` if the webhook has `max_running` under way.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn insert_replay(&self, replay: Replay, max_running: u32) -> Result<bool, StoreError> {
        self.file().write(move |tx| insert(tx, &replay, max_running)).await
    }

    /// The webhook's replays, newest first, at most 100.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn replays(&self, webhook: WebhookId) -> Result<Vec<Replay>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM replays WHERE webhook_id = ? ORDER BY no DESC LIMIT {MAX_LISTED}"
            );
            let values = [webhook.as_uuid().as_bytes()];
            all(connection.prepare_cached(&sql)?, values, "replays", |cells| {
                decode(cells).map(|(_, row)| row)
            })
        };
        self.file().read(op).await
    }

    /// One of the webhook's replays.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn replay(&self, webhook: WebhookId, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!("SELECT {COLUMNS} FROM replays WHERE webhook_id = ? AND id = ?");
            let values = params![webhook.as_uuid().as_bytes(), id.as_uuid().as_bytes()];
            let statement = connection.prepare_cached(&sql)?;
            first(statement, values, "replays", |cells| decode(cells).map(|(_, row)| row))
        };
        self.file().read(op).await
    }

    /// Ends a replay that is under way; `false` if it is not.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn cancel_replay(
        &self,
        webhook: WebhookId,
        id: ReplayId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let now = now.as_microsecond();
        self.file().write(move |tx| cancel(tx, webhook, id, now)).await
    }

    /// The webhook's replays that are under way, with the store's numbers, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn running_replays(&self, webhook: WebhookId) -> Result<Vec<(i64, Replay)>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM replays WHERE webhook_id = ? AND state = 'running' ORDER BY no LIMIT {MAX_LISTED}"
            );
            let values = [webhook.as_uuid().as_bytes()];
            all(connection.prepare_cached(&sql)?, values, "replays", decode)
        };
        self.file().read(op).await
    }

    /// The webhooks that have replays under way, or exceptions of one that was canceled.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhooks_with_replays(&self) -> Result<Vec<WebhookId>, StoreError> {
        let op = |connection: &Connection| {
            let statement = connection.prepare_cached(
                "SELECT webhook_id FROM replays WHERE state = 'running'
                 UNION
                 SELECT r.webhook_id FROM replays r WHERE state = 'canceled'
                     AND n_delivered + n_failed + n_dropped < n_selected",
            )?;
            all(statement, [], "replays", |cells| cells.uuid("webhook_id"))
        };
        self.file().read(op).await
    }

    /// What `replay` selects next of the team's log: up to `limit` events of a bounded stretch.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn replay_page(
        &self,
        team: TeamId,
        replay: Replay,
        limit: u32,
    ) -> Result<ReplayPage, StoreError> {
        self.file().read(move |connection| page(connection, team, &replay, limit)).await
    }
}
