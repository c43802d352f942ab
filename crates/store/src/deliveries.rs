//! How far each webhook has come: its cursor, and the exceptions to "everything up to the cursor is delivered".

use rusqlite::{Connection, params};
use sandscope_model::{Exception, Timestamp, WebhookId};

use crate::row::{all, exists, first, integer};
use crate::writer::Tx;
use crate::{Store, StoreError};

/// A step forward of one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryProgress {
    /// Whose.
    pub webhook_id: WebhookId,
    /// Everything up to here is delivered, not wanted, or an exception. A cursor never goes back: an older value
    /// changes nothing.
    pub cursor: Option<u64>,
    /// Exceptions that are new or changed; their `webhook_id` must be the one above.
    pub set: Vec<Exception>,
    /// Exceptions that are settled, by the event's number.
    pub clear: Vec<u64>,
}

fn record(tx: &Tx<'_>, progress: &DeliveryProgress) -> Result<(), StoreError> {
    let webhook_id = progress.webhook_id.as_uuid().as_bytes();
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
            "INSERT INTO exceptions (webhook_id, sequence, n_attempts, next_due_at) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET n_attempts = excluded.n_attempts, next_due_at = excluded.next_due_at",
        )?
        .execute(params![
            webhook_id,
            integer(exception.sequence),
            exception.n_attempts,
            exception.next_due_at.map(Timestamp::as_microsecond),
        ])?;
    }
    for sequence in &progress.clear {
        tx.prepare_cached("DELETE FROM exceptions WHERE webhook_id = ? AND sequence = ?")?
            .execute(params![webhook_id, integer(*sequence)])?;
    }
    Ok(())
}

impl Store {
    /// The webhook's cursor; `None` if there is no such webhook.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn cursor(&self, id: WebhookId) -> Result<Option<u64>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached("SELECT cursor FROM webhooks WHERE id = ?")?;
            first(statement, [id.as_uuid().as_bytes()], "webhooks", |cells| cells.number("cursor"))
        };
        self.facts().read(op).await
    }

    /// The webhook's exceptions that matter to its deliverer, by event: those with attempts left, and those past the
    /// cursor. Those out of attempts behind the cursor are over and done with, and may be many.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn exceptions(&self, id: WebhookId) -> Result<Vec<Exception>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached(
                "SELECT sequence, n_attempts, next_due_at FROM exceptions
                 WHERE webhook_id = ?1 AND next_due_at IS NOT NULL
                 UNION
                 SELECT sequence, n_attempts, next_due_at FROM exceptions
                 WHERE webhook_id = ?1 AND sequence > (SELECT cursor FROM webhooks WHERE id = ?1)
                 ORDER BY sequence",
            )?;
            all(statement, [id.as_uuid().as_bytes()], "exceptions", |cells| {
                Ok(Exception {
                    webhook_id: id,
                    sequence: cells.number("sequence")?,
                    n_attempts: cells.number("n_attempts")?,
                    next_due_at: cells.optional_time("next_due_at")?,
                })
            })
        };
        self.facts().read(op).await
    }

    /// Records how far a webhook has come, in one transaction shared with whatever else is written at the time. Of a
    /// webhook that was deleted meanwhile nothing is recorded.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn record_deliveries(&self, progress: DeliveryProgress) -> Result<(), StoreError> {
        self.facts().write(move |tx| record(tx, &progress)).await
    }
}
