//! Alerts that fire: each is published once, however often the server is restarted or killed.
//!
//! An alert is a row while it fires. Row and event come and go in one transaction, and with them the cursor up to which
//! the log has been looked at: whoever finds the row there already (or gone already) publishes nothing, and no event is
//! decided upon twice.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use sandscope_model::{
    AlertChange, AlertNotice, AlertRule, AlertRuleId, Event, EventDraft, EventId, EventType, Fact,
    SubjectKey, TeamId, Timestamp, milli,
};

use crate::facts::events;
use crate::facts::events::SandboxColumns;
use crate::facts::forms::event::{EventForm, VERSION};
use crate::facts::teams::team_no;
use crate::sqlite::row::{Cells, all, first, integer, only, to_json};
use crate::sqlite::writer::Tx;
use crate::{Alerts, StoreError};

/// Which alert.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AlertKey {
    /// The rule, if a team made it; the operator's are known by their names.
    pub rule_id: Option<AlertRuleId>,
    /// The rule's name.
    pub rule: String,
    /// About what.
    pub subject: SubjectKey,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq)]
pub struct FiringAlert {
    /// Which alert: rule and subject.
    pub key: AlertKey,
    /// Its rule as it was when it began to fire; unknown of what versions before wrote.
    pub rule: Option<AlertRule>,
    /// Since when.
    pub since: Timestamp,
    /// The event that reported it.
    pub published: EventDraft,
}

/// What became of an alert.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertDecision {
    /// It fires.
    Fire {
        /// The alert, as it began to fire.
        alert: Box<FiringAlert>,
        /// As of which revision of the team's rule: if that has changed meanwhile, nothing fires.
        revision: u64,
    },
    /// It fires no more.
    Resolve {
        /// Which alert: rule and subject.
        key: AlertKey,
        /// The id of its event.
        event_id: EventId,
        /// When it resolved.
        at: Timestamp,
        /// The number that decided it, if one did.
        value: Option<f64>,
        /// Why, if no number decided it.
        reason: Option<String>,
    },
}

/// What one look at a team came to.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertStep {
    /// Whose alerts.
    pub team_id: TeamId,
    /// What became of them, in this order.
    pub decisions: Vec<AlertDecision>,
    /// Up to which event of the log they were decided, if by the log.
    pub cursor: Option<u64>,
}

const COLUMNS: &str =
    "rule_id, rule_name, subject, rule, since, sandbox_id, execution_id, template_id, build_id, form, data";

fn decode(cells: &mut Cells<'_, '_>, team_id: TeamId) -> Result<FiringAlert, StoreError> {
    let rule_id = cells.mapped("rule_id", |bytes: Vec<u8>| match bytes.len() {
        0 => Some(None),
        _ => uuid::Uuid::from_slice(&bytes).ok().map(|uuid| Some(uuid.into())),
    })?;
    let key = AlertKey { rule_id, rule: cells.plain("rule_name")?, subject: cells.id("subject")? };
    let rule = cells.optional_json("rule")?;
    let since = cells.time("since")?;
    let sandbox = events::sandbox(cells)?;
    let (subject, origin, fact) = events::fact(cells, EventType::AlertFiring, sandbox)?;
    // The event itself is in the log: this is only what it said.
    let id = EventId::from(uuid::Uuid::nil());
    let published = EventDraft { id, team_id, timestamp: since, subject, origin, fact };
    Ok(FiringAlert { key, rule, since, published })
}

fn id_bytes(id: Option<AlertRuleId>) -> Vec<u8> {
    id.map(|id| id.as_uuid().as_bytes().to_vec()).unwrap_or_default()
}

fn publish(tx: &mut Tx<'_>, no: i64, draft: EventDraft) -> Result<Event, StoreError> {
    let event = events::append(tx, no, draft)?;
    tx.publish(Arc::new(event.clone()));
    Ok(event)
}

fn is_current(tx: &Tx<'_>, id: AlertRuleId, revision: u64) -> Result<bool, StoreError> {
    let found: Option<i64> = tx
        .prepare_cached("SELECT revision FROM alert_rules WHERE id = ?")?
        .query_row([id.as_uuid().as_bytes()], only)
        .optional()?;
    Ok(found == Some(integer(revision)))
}

fn fire(tx: &mut Tx<'_>, no: i64, alert: FiringAlert, revision: u64) -> Result<bool, StoreError> {
    let FiringAlert { key, rule, since, published } = alert;
    if let Some(id) = key.rule_id
        && !is_current(tx, id, revision)?
    {
        return Ok(false);
    }
    let sandbox = SandboxColumns::of(&published);
    let n = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO firing_alerts (team_no, rule_id, rule_name, subject, rule, since, sandbox_id,
                 execution_id, template_id, build_id, form, data)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            no,
            id_bytes(key.rule_id),
            key.rule,
            key.subject.to_string(),
            rule.as_ref().map(to_json).transpose()?,
            since.as_microsecond(),
            sandbox.id,
            sandbox.execution_id,
            sandbox.template_id,
            sandbox.build_id,
            VERSION,
            to_json(&EventForm::of(&published))?,
        ])?;
    if n > 0 {
        publish(tx, no, published)?;
    }
    Ok(n > 0)
}

fn resolve(
    tx: &mut Tx<'_>,
    (no, team_id): (i64, TeamId),
    key: &AlertKey,
    (event_id, at): (EventId, Timestamp),
    change: impl FnOnce(&mut AlertNotice),
) -> Result<bool, StoreError> {
    let one = "team_no = ? AND rule_id = ? AND rule_name = ? AND subject = ?";
    let values = params![no, id_bytes(key.rule_id), key.rule, key.subject.to_string()];
    let sql = format!("DELETE FROM firing_alerts WHERE {one} RETURNING {COLUMNS}");
    let found = first(tx.prepare_cached(&sql)?, values, "firing_alerts", |cells| decode(cells, team_id))?;
    let Some(FiringAlert { published, .. }) = found else { return Ok(false) };
    let fact = match published.fact {
        Fact::Alert { mut notice, .. } => {
            notice.value_milli = None;
            change(&mut notice);
            Fact::Alert { change: AlertChange::Resolved, notice }
        }
        other => other,
    };
    publish(tx, no, EventDraft { id: event_id, timestamp: at, fact, ..published })?;
    Ok(true)
}

/// Resolves everything that fires by one of a team's own rules.
pub(crate) fn resolve_rule(
    tx: &mut Tx<'_>,
    (no, team_id): (i64, TeamId),
    id: AlertRuleId,
    at: Timestamp,
    reason: &str,
    mut event_id: impl FnMut() -> EventId,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM firing_alerts WHERE team_no = ? AND rule_id = ? ORDER BY since, subject"
    );
    let firing =
        all(tx.prepare_cached(&sql)?, params![no, id.as_uuid().as_bytes()], "firing_alerts", |cells| {
            decode(cells, team_id)
        })?;
    for alert in firing {
        let event = (event_id(), at);
        resolve(tx, (no, team_id), &alert.key, event, |notice| notice.reason = Some(reason.to_owned()))?;
    }
    Ok(())
}

fn step(tx: &mut Tx<'_>, step: AlertStep) -> Result<u32, StoreError> {
    let AlertStep { team_id, decisions, cursor } = step;
    let no = team_no(tx, team_id)?;
    let mut n_told = 0;
    for decision in decisions {
        n_told += u32::from(match decision {
            AlertDecision::Fire { alert, revision } => fire(tx, no, *alert, revision)?,
            AlertDecision::Resolve { key, event_id, at, value, reason } => {
                resolve(tx, (no, team_id), &key, (event_id, at), |notice| {
                    notice.value_milli = value.map(milli);
                    notice.reason = reason;
                })?
            }
        });
    }
    if let Some(cursor) = cursor {
        tx.prepare_cached("UPDATE teams SET alert_cursor = ? WHERE no = ?")?
            .execute(params![integer(cursor), no])?;
    }
    Ok(n_told)
}

fn list(connection: &Connection, team: TeamId, limit: u32) -> Result<Vec<FiringAlert>, StoreError> {
    let no = team_no(connection, team)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM firing_alerts WHERE team_no = ? ORDER BY since, rule_name, subject LIMIT ?"
    );
    all(connection.prepare_cached(&sql)?, params![no, limit], "firing_alerts", |cells| decode(cells, team))
}

impl Alerts {
    /// Stores and publishes what was decided, all or nothing; says how much of it was news.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. Nothing has changed then.
    pub async fn publish_alerts(&self, decided: AlertStep) -> Result<u32, StoreError> {
        self.file().write(move |tx| step(tx, decided)).await
    }

    /// The team's alerts that fire, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn firing_alerts(&self, team: TeamId, limit: u32) -> Result<Vec<FiringAlert>, StoreError> {
        self.file().read(move |connection| list(connection, team, limit)).await
    }

    /// Up to which event of the team's log rules on events have been decided; `None` if none is followed.
    ///
    /// # Errors
    /// As [`firing_alerts`](Self::firing_alerts).
    pub async fn alert_cursor(&self, team: TeamId) -> Result<Option<u64>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached("SELECT alert_cursor FROM teams WHERE id = ?")?;
            let found = first(statement, [team.as_uuid().as_bytes()], "teams", |cells| {
                cells.optional_number("alert_cursor")
            })?;
            Ok(found.flatten())
        };
        self.file().read(op).await
    }

    /// Follows the team's log no more.
    ///
    /// # Errors
    /// As [`publish_alerts`](Self::publish_alerts).
    pub async fn forget_alert_cursor(&self, team: TeamId) -> Result<(), StoreError> {
        let op = move |tx: &mut Tx<'_>| {
            tx.prepare_cached("UPDATE teams SET alert_cursor = NULL WHERE id = ?")?
                .execute([team.as_uuid().as_bytes()])?;
            Ok(())
        };
        self.file().write(op).await
    }
}
