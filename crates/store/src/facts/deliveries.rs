//! How far each webhook has come: its cursor, and the exceptions to "everything up to the cursor is delivered".

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, params};
use sandscope_model::{
    Event, EventDraft, Exception, SubjectKey, TeamId, Timestamp, WebhookHealth, WebhookId,
};

use crate::facts::forms::health::HealthForm;
use crate::facts::teams::team_no;
use crate::facts::{events, replays};
use crate::sqlite::row::{Cells, all, exists, first, integer, to_json};
use crate::sqlite::writer::Tx;
use crate::{Deliveries, StoreError};

/// A step forward of one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryProgress {
    /// The webhook that went on.
    pub webhook_id: WebhookId,
    /// Everything up to here is delivered, not wanted, or an exception. A cursor never goes back: an older value
    /// changes nothing.
    pub cursor: Option<u64>,
    /// Exceptions that are new or changed; their `webhook_id` must be the one above.
    pub set: Vec<Exception>,
    /// Exceptions that are settled, by the event's number.
    pub clear: Vec<u64>,
    /// How deliveries have been going, if that changed.
    pub health: Option<WebhookHealth>,
    /// Operational events that report it.
    pub notices: Vec<EventDraft>,
    /// Whether the webhook is disabled.
    pub disable: bool,
    /// How replays went on.
    pub replays: Vec<ReplayStep>,
}

impl DeliveryProgress {
    /// No step at all.
    pub const fn of(webhook_id: WebhookId) -> Self {
        Self {
            webhook_id,
            cursor: None,
            set: Vec::new(),
            clear: Vec::new(),
            health: None,
            notices: Vec::new(),
            disable: false,
            replays: Vec::new(),
        }
    }
}

/// A step of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayStep {
    /// Which, by the store's number.
    pub no: i64,
    /// When the step was made.
    pub at: Timestamp,
    /// Everything before this event has been selected or passed over, if that changed.
    pub next: Option<u64>,
    /// Events selected since the last step.
    pub n_selected: u64,
    /// Of all selected, delivered since then.
    pub n_delivered: u64,
    /// Given up since then.
    pub n_failed: u64,
    /// Found to be gone or no longer wanted since then.
    pub n_dropped: u64,
}

/// Something a webhook is owed that is not simply past its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// What and when.
    pub exception: Exception,
    /// What the event is about; `None` if the event is gone.
    pub subject: Option<SubjectKey>,
}

/// Where a webhook stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here is delivered, not wanted, or an exception.
    pub cursor: u64,
    /// The number of the team's newest event.
    pub last_sequence: u64,
    /// Deliveries that await another attempt.
    pub n_pending: u64,
    /// Deliveries that are out of attempts.
    pub n_exhausted: u64,
    /// Events passed while it was disabled.
    pub n_skipped: u64,
    /// How deliveries have been going.
    pub health: WebhookHealth,
}

/// A delivery that is out of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What was to be delivered.
    pub event: Event,
    /// Attempts made.
    pub n_attempts: u32,
}

fn record(tx: &mut Tx<'_>, progress: DeliveryProgress) -> Result<(), StoreError> {
    let id = progress.webhook_id;
    let webhook_id = id.as_uuid().as_bytes();
    // Deleted meanwhile: there is nothing to record.
    if !exists(tx, "SELECT 1 FROM webhooks WHERE id = ?", [webhook_id])? {
        return Ok(());
    }
    if let Some(cursor) = progress.cursor {
        tx.prepare_cached("UPDATE webhooks SET cursor = ?2 WHERE id = ?1 AND cursor < ?2")?
            .execute(params![webhook_id, integer(cursor)])?;
    }
    for exception in &progress.set {
        tx.prepare_cached(
            "INSERT INTO exceptions (webhook_id, sequence, n_attempts, next_due_at, replay_no, was_exhausted)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET n_attempts = excluded.n_attempts, next_due_at = excluded.next_due_at,
                 replay_no = excluded.replay_no, was_exhausted = excluded.was_exhausted",
        )?
        .execute(params![
            webhook_id,
            integer(exception.sequence),
            exception.n_attempts,
            exception.next_due_at.map(Timestamp::as_microsecond),
            exception.replay_no,
            exception.was_exhausted,
        ])?;
    }
    for sequence in &progress.clear {
        tx.prepare_cached("DELETE FROM exceptions WHERE webhook_id = ? AND sequence = ?")?
            .execute(params![webhook_id, integer(*sequence)])?;
    }
    if let Some(health) = &progress.health {
        tx.prepare_cached("UPDATE webhooks SET health = ? WHERE id = ?")?
            .execute(params![to_json(&HealthForm::of(health))?, webhook_id])?;
    }
    if progress.disable {
        tx.prepare_cached("UPDATE webhooks SET enabled = 0 WHERE id = ?")?.execute([webhook_id])?;
        tx.webhooks_changed();
    }
    for step in &progress.replays {
        replays::advance(tx, id, step)?;
    }
    for notice in progress.notices {
        let team_no = team_no(tx, notice.team_id)?;
        let event = events::append(tx, team_no, notice)?;
        tx.publish(Arc::new(event));
    }
    Ok(())
}

pub(crate) fn health(cells: &mut Cells<'_, '_>) -> Result<WebhookHealth, StoreError> {
    cells.json("health").map(HealthForm::into_health)
}

fn exception(cells: &mut Cells<'_, '_>, id: WebhookId) -> Result<Exception, StoreError> {
    Ok(Exception {
        webhook_id: id,
        sequence: cells.number("sequence")?,
        n_attempts: cells.number("n_attempts")?,
        next_due_at: cells.optional_time("next_due_at")?,
        replay_no: cells.plain("replay_no")?,
        was_exhausted: cells.plain("was_exhausted")?,
    })
}

const OWED: &str = "SELECT x.sequence, x.n_attempts, x.next_due_at, x.replay_no, x.was_exhausted,
         COALESCE(e.subject, 'sandbox:' || e.sandbox_id) AS subject
     FROM (
         SELECT * FROM exceptions WHERE webhook_id = ?1 AND next_due_at IS NOT NULL
         UNION
         SELECT * FROM exceptions
         WHERE webhook_id = ?1 AND sequence > (SELECT cursor FROM webhooks WHERE id = ?1)
     ) x
     LEFT JOIN webhooks w ON w.id = ?1
     LEFT JOIN events e ON e.team_no = w.team_no AND e.sequence = x.sequence
     ORDER BY x.sequence";

const STANDING: &str = "SELECT w.cursor, t.last_sequence,
         (SELECT COUNT(*) FROM exceptions x WHERE x.webhook_id = w.id AND x.next_due_at IS NOT NULL) AS n_pending,
         (SELECT COUNT(*) FROM exceptions x WHERE x.webhook_id = w.id AND x.next_due_at IS NULL) AS n_exhausted,
         (SELECT COALESCE(SUM(s.last - s.first + 1), 0) FROM skipped s WHERE s.webhook_id = w.id) AS n_skipped,
         w.health
     FROM webhooks w JOIN teams t ON t.no = w.team_no WHERE w.id = ?";

fn standing(connection: &Connection, id: WebhookId) -> Result<Option<Standing>, StoreError> {
    let statement = connection.prepare_cached(STANDING)?;
    first(statement, [id.as_uuid().as_bytes()], "webhooks", |cells| {
        Ok(Standing {
            cursor: cells.number("cursor")?,
            last_sequence: cells.number("last_sequence")?,
            n_pending: cells.number("n_pending")?,
            n_exhausted: cells.number("n_exhausted")?,
            n_skipped: cells.number("n_skipped")?,
            health: health(cells)?,
        })
    })
}

impl Deliveries {
    /// The webhook's cursor; `None` if there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn cursor(&self, id: WebhookId) -> Result<Option<u64>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached("SELECT cursor FROM webhooks WHERE id = ?")?;
            first(statement, [id.as_uuid().as_bytes()], "webhooks", |cells| cells.number("cursor"))
        };
        self.file().read(op).await
    }

    /// How deliveries to the webhook have been going; `None` if there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhook_health(&self, id: WebhookId) -> Result<Option<WebhookHealth>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached("SELECT health FROM webhooks WHERE id = ?")?;
            first(statement, [id.as_uuid().as_bytes()], "webhooks", health)
        };
        self.file().read(op).await
    }

    /// Where the webhook stands; `None` if there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhook_standing(&self, id: WebhookId) -> Result<Option<Standing>, StoreError> {
        self.file().read(move |connection| standing(connection, id)).await
    }

    /// Where each of these webhooks stands; those that are gone are left out.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn webhook_standings(
        &self,
        ids: Vec<WebhookId>,
    ) -> Result<BTreeMap<WebhookId, Standing>, StoreError> {
        let op = move |connection: &Connection| {
            let found = ids.iter().map(|id| Ok(standing(connection, *id)?.map(|standing| (*id, standing))));
            found.filter_map(Result::transpose).collect()
        };
        self.file().read(op).await
    }

    /// The webhook's exceptions that matter to its deliverer, by event: those with attempts left, and those past the
    /// cursor. Those out of attempts behind the cursor are over and done with, and may be many.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn owed(&self, id: WebhookId) -> Result<Vec<Owed>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached(OWED)?;
            all(statement, [id.as_uuid().as_bytes()], "exceptions", |cells| {
                let exception = exception(cells, id)?;
                let subject: Option<String> = cells.plain("subject")?;
                Ok(Owed { exception, subject: subject.and_then(|text| text.parse().ok()) })
            })
        };
        self.file().read(op).await
    }

    /// The same without what the events are about.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn exceptions(&self, id: WebhookId) -> Result<Vec<Exception>, StoreError> {
        Ok(self.owed(id).await?.into_iter().map(|owed| owed.exception).collect())
    }

    /// Deliveries to a webhook of the team that are out of attempts, by the event's number, from behind `after`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn dead_letters(
        &self,
        team: TeamId,
        webhook: WebhookId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let op = move |connection: &Connection| {
            let columns = events::COLUMNS.split(", ").map(|column| format!("e.{column}")).collect::<Vec<_>>();
            let sql = format!(
                "SELECT {}, x.n_attempts
                 FROM exceptions x JOIN events e
                     ON e.team_no = (SELECT no FROM teams WHERE id = ?1) AND e.sequence = x.sequence
                 WHERE x.webhook_id = ?2 AND x.next_due_at IS NULL AND x.sequence > ?3
                 ORDER BY x.sequence LIMIT ?4",
                columns.join(", ")
            );
            let (team_bytes, webhook) = (team.as_uuid().as_bytes(), webhook.as_uuid().as_bytes());
            let values = params![team_bytes, webhook, integer(after), limit];
            all(connection.prepare_cached(&sql)?, values, "exceptions", |cells| {
                let event = events::decode(cells, team)?;
                Ok(DeadLetter { event, n_attempts: cells.number("n_attempts")? })
            })
        };
        self.file().read(op).await
    }

    /// Records how far a webhook has come, in one transaction shared with whatever else is written at the time. Of a
    /// webhook that was deleted meanwhile nothing is recorded.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn record_deliveries(&self, progress: DeliveryProgress) -> Result<(), StoreError> {
        self.file().write(move |tx| record(tx, progress)).await
    }

    /// Completes once every progress that was handed in before is recorded or refused, also that of callers who went away
    /// meanwhile. Whoever takes over a webhook waits for this before it reads how far the one before had come.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn deliveries_recorded(&self) -> Result<(), StoreError> {
        // The writer keeps the order of what it is given.
        self.file().write(|_| Ok(())).await
    }
}
