//! The rows of attempts.

use std::fmt::Write;

use rusqlite::types::ToSql;
use rusqlite::{Connection, params};
use sandscope_model::{Attempt, AttemptOutcome, DeliveryId, SandboxId, TeamId, Timestamp, WebhookId};

use crate::StoreError;
use crate::attempts::{AttemptQuery, StatsBucket};
use crate::sqlite::row::{Cells, all, first, integer, to_name};
use crate::sqlite::writer::Tx;

const COLUMNS: &str = "id, team_id, webhook_id, event_id, sequence, sandbox_id, event_type, started_at, \
     duration_ms, success, error_class, error_message, request_url, request_headers, request_body, \
     response_status, response_headers, response_body";

fn decode(cells: &mut Cells<'_, '_>) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        id: cells.uuid("id")?,
        team_id: cells.uuid("team_id")?,
        webhook_id: cells.uuid("webhook_id")?,
        event_id: cells.uuid("event_id")?,
        sequence: cells.number("sequence")?,
        sandbox_id: cells.mapped("sandbox_id", |id: String| match id.as_str() {
            "" => Some(None),
            id => id.parse().ok().map(Some),
        })?,
        event_type: cells.event_type("event_type")?,
        started_at: cells.time("started_at")?,
        duration_ms: cells.number("duration_ms")?,
        outcome: if cells.plain("success")? {
            let error: Option<String> = cells.plain("error_class")?;
            if error.is_some() { AttemptOutcome::Cut } else { AttemptOutcome::Success }
        } else {
            AttemptOutcome::Failed {
                class: cells.name("error_class")?,
                message: cells.plain("error_message")?,
            }
        },
        request_url: cells.plain("request_url")?,
        request_headers: cells.plain("request_headers")?,
        request_body: cells.plain("request_body")?,
        response_status: cells.optional_number("response_status")?,
        response_headers: cells.plain("response_headers")?,
        response_body: cells.plain("response_body")?,
    })
}

pub(super) fn insert(tx: &Tx<'_>, attempt: &Attempt) -> Result<(), StoreError> {
    let (class, message) = attempt.outcome.error().unzip();
    let class = class.map(|class| to_name(&class)).transpose()?;
    tx.prepare_cached(
        "INSERT INTO attempts (id, team_id, webhook_id, event_id, sequence, sandbox_id, event_type, started_at,
             duration_ms, success, error_class, error_message, request_url, request_headers, request_body,
             response_status, response_headers, response_body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        attempt.id.as_uuid().as_bytes(),
        attempt.team_id.as_uuid().as_bytes(),
        attempt.webhook_id.as_uuid().as_bytes(),
        attempt.event_id.as_uuid().as_bytes(),
        integer(attempt.sequence),
        attempt.sandbox_id.as_ref().map_or("", SandboxId::as_str),
        attempt.event_type.code(),
        attempt.started_at.as_microsecond(),
        attempt.duration_ms,
        attempt.outcome.is_success(),
        class,
        message,
        attempt.request_url,
        attempt.request_headers,
        attempt.request_body,
        attempt.response_status,
        attempt.response_headers,
        attempt.response_body,
    ])?;
    Ok(())
}

pub(super) fn list(
    connection: &Connection,
    team: TeamId,
    webhook: WebhookId,
    query: &AttemptQuery,
) -> Result<Vec<Attempt>, StoreError> {
    let (sql, values) = list_query(team, webhook, query);
    let values = rusqlite::params_from_iter(values);
    all(connection.prepare_cached(&sql)?, values, "attempts", decode)
}

pub(crate) fn list_query(
    team: TeamId,
    webhook: WebhookId,
    query: &AttemptQuery,
) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = format!("SELECT {COLUMNS} FROM attempts WHERE webhook_id = ? AND team_id = ?");
    let mut values: Vec<Box<dyn ToSql>> =
        vec![Box::new(*webhook.as_uuid().as_bytes()), Box::new(*team.as_uuid().as_bytes())];
    if let Some((at, id)) = query.cursor {
        // Writing to a String cannot fail.
        let _ = write!(sql, " AND (started_at, id) {} (?, ?)", query.order.after());
        values.push(Box::new(at.as_microsecond()));
        values.push(Box::new(*id.as_uuid().as_bytes()));
    }
    for (condition, bound) in [("started_at >= ?", query.start), ("started_at <= ?", query.end)] {
        if let Some(at) = bound {
            let _ = write!(sql, " AND {condition}");
            values.push(Box::new(at.as_microsecond()));
        }
    }
    if let Some(success) = query.success {
        sql.push_str(" AND success = ?");
        values.push(Box::new(success));
    }
    if !query.types.is_empty() {
        let codes: Vec<_> = query.types.iter().map(|one| one.code().to_string()).collect();
        let _ = write!(sql, " AND event_type IN ({})", codes.join(", "));
    }
    let order = query.order.sql();
    let _ = write!(sql, " ORDER BY started_at {order}, id {order} LIMIT ?");
    values.push(Box::new(query.limit));
    (sql, values)
}

pub(crate) const STATS: &str =
    "SELECT started_at - started_at % ?5 AS start, COUNT(*) AS total, COUNT(*) - SUM(success) AS failed,
         MIN(duration_ms) AS min, AVG(duration_ms) AS avg, MAX(duration_ms) AS max
     FROM attempts
     WHERE webhook_id = ?1 AND team_id = ?2 AND started_at BETWEEN ?3 AND ?4
     GROUP BY 1 ORDER BY 1";

/// Removes the oldest attempts from before `cutoff`, a batch at most.
pub(super) fn forget(tx: &Tx<'_>, cutoff: i64, batch: u32) -> Result<u64, StoreError> {
    // Rows stand in the order they were written, which is that of time but for the length of one attempt.
    let mut oldest = tx.prepare_cached("SELECT no, started_at FROM attempts ORDER BY no LIMIT ?")?;
    let mut rows = oldest.query([batch])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>("started_at")? >= cutoff {
            break;
        }
        last = Some(row.get::<_, i64>("no")?);
    }
    let Some(last) = last else { return Ok(0) };
    let n = tx.prepare_cached("DELETE FROM attempts WHERE no <= ?")?.execute([last])?;
    Ok(u64::try_from(n).unwrap_or(u64::MAX))
}

pub(super) fn one(
    connection: &Connection,
    team: TeamId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<Attempt>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM attempts INDEXED BY attempts_by_id
         WHERE id = ? AND webhook_id = ? AND team_id = ?"
    );
    let (id, webhook) = (id.as_uuid().as_bytes(), webhook.as_uuid().as_bytes());
    let values = params![id, webhook, team.as_uuid().as_bytes()];
    first(connection.prepare_cached(&sql)?, values, "attempts", decode)
}

pub(crate) const LAST_SUCCESS: &str = "SELECT started_at FROM attempts INDEXED BY attempts_by_webhook
     WHERE webhook_id = ? AND team_id = ? AND success = 1 ORDER BY started_at DESC LIMIT 1";

/// When the last attempt that succeeded was started. Reads an index only.
pub(super) fn last_success(
    connection: &Connection,
    team: TeamId,
    webhook: WebhookId,
) -> Result<Option<Timestamp>, StoreError> {
    let values = params![webhook.as_uuid().as_bytes(), team.as_uuid().as_bytes()];
    first(connection.prepare_cached(LAST_SUCCESS)?, values, "attempts", |cells| cells.time("started_at"))
}

pub(super) fn stats(
    connection: &Connection,
    team: TeamId,
    webhook: WebhookId,
    (start, end): (Timestamp, Timestamp),
    bucket_s: u32,
) -> Result<Vec<StatsBucket>, StoreError> {
    let values = params![
        webhook.as_uuid().as_bytes(),
        team.as_uuid().as_bytes(),
        start.as_microsecond(),
        end.as_microsecond(),
        i64::from(bucket_s.max(1)) * 1_000_000,
    ];
    all(connection.prepare_cached(STATS)?, values, "attempts", |cells| {
        Ok(StatsBucket {
            start: cells.time("start")?,
            total: cells.number("total")?,
            failed: cells.number("failed")?,
            min: cells.plain("min")?,
            avg: cells.plain("avg")?,
            max: cells.plain("max")?,
        })
    })
}
