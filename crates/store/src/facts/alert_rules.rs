//! Rules of alerts that teams made. Changing or deleting one resolves what fires by it, in the same transaction.

use std::sync::Arc;

use rusqlite::{Connection, params};
use sandscope_model::{AlertRule, AlertRuleId, Entropy, EventId, TeamAlertRule, TeamId, Timestamp};

use crate::facts::alerts::resolve_rule;
use crate::facts::teams::team_no;
use crate::sqlite::row::{Cells, all, exists, first, integer, only, to_json};
use crate::sqlite::writer::Tx;
use crate::{Alerts, StoreError};

/// What became of a rule that was to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleOutcome {
    /// It is stored; as it is now.
    Stored(TeamAlertRule),
    /// The team has another rule of that name.
    NameTaken,
    /// The team has as many rules as it may.
    Full,
    /// The team has no such rule.
    Unknown,
}

const COLUMNS: &str = "r.id, t.id AS team_id, r.rule, r.revision, r.created_at";
const FROM: &str = "FROM alert_rules r JOIN teams t ON t.no = r.team_no";

fn decode(cells: &mut Cells<'_, '_>) -> Result<TeamAlertRule, StoreError> {
    Ok(TeamAlertRule {
        id: cells.uuid("id")?,
        team_id: cells.uuid("team_id")?,
        rule: cells.json("rule")?,
        revision: cells.number("revision")?,
        created_at: cells.time("created_at")?,
    })
}

fn find(connection: &Connection, team: TeamId, id: AlertRuleId) -> Result<Option<TeamAlertRule>, StoreError> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE r.id = ? AND t.id = ?");
    let values = params![id.as_uuid().as_bytes(), team.as_uuid().as_bytes()];
    first(connection.prepare_cached(&sql)?, values, "alert_rules", decode)
}

fn is_taken(tx: &Tx<'_>, no: i64, name: &str, except: AlertRuleId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM alert_rules WHERE team_no = ? AND name = ? AND id <> ?";
    exists(tx, sql, params![no, name, except.as_uuid().as_bytes()])
}

fn insert(tx: &mut Tx<'_>, new: TeamAlertRule, max: u32) -> Result<RuleOutcome, StoreError> {
    let no = team_no(tx, new.team_id)?;
    if is_taken(tx, no, &new.rule.name, new.id)? {
        return Ok(RuleOutcome::NameTaken);
    }
    let n: u32 =
        tx.prepare_cached("SELECT COUNT(*) FROM alert_rules WHERE team_no = ?")?.query_row([no], only)?;
    if n >= max {
        return Ok(RuleOutcome::Full);
    }
    tx.prepare_cached(
        "INSERT INTO alert_rules (id, team_no, name, rule, revision, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        new.id.as_uuid().as_bytes(),
        no,
        new.rule.name,
        to_json(&new.rule)?,
        integer(new.revision),
        new.created_at.as_microsecond(),
    ])?;
    tx.alert_rules_changed();
    Ok(RuleOutcome::Stored(new))
}

fn update(
    tx: &mut Tx<'_>,
    team: TeamId,
    id: AlertRuleId,
    rule: AlertRule,
    at: Timestamp,
    entropy: &dyn Entropy,
) -> Result<RuleOutcome, StoreError> {
    let Some(old) = find(tx, team, id)? else { return Ok(RuleOutcome::Unknown) };
    if old.rule == rule {
        return Ok(RuleOutcome::Stored(old));
    }
    let no = team_no(tx, team)?;
    if is_taken(tx, no, &rule.name, id)? {
        return Ok(RuleOutcome::NameTaken);
    }
    resolve_rule(tx, (no, team), id, at, "the rule was changed", || EventId::generate(entropy))?;
    let new = TeamAlertRule { revision: old.revision + 1, rule, ..old };
    tx.prepare_cached("UPDATE alert_rules SET name = ?, rule = ?, revision = ? WHERE id = ?")?.execute(
        params![new.rule.name, to_json(&new.rule)?, integer(new.revision), id.as_uuid().as_bytes()],
    )?;
    tx.alert_rules_changed();
    Ok(RuleOutcome::Stored(new))
}

fn delete(
    tx: &mut Tx<'_>,
    team: TeamId,
    id: AlertRuleId,
    at: Timestamp,
    entropy: &dyn Entropy,
) -> Result<bool, StoreError> {
    if find(tx, team, id)?.is_none() {
        return Ok(false);
    }
    let no = team_no(tx, team)?;
    resolve_rule(tx, (no, team), id, at, "the rule is gone", || EventId::generate(entropy))?;
    tx.prepare_cached("DELETE FROM alert_rules WHERE id = ?")?.execute([id.as_uuid().as_bytes()])?;
    tx.alert_rules_changed();
    Ok(true)
}

impl Alerts {
    /// Stores a new rule, if the team has fewer than `max`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written. Nothing has changed then.
    pub async fn insert_alert_rule(&self, new: TeamAlertRule, max: u32) -> Result<RuleOutcome, StoreError> {
        self.file().write(move |tx| insert(tx, new, max)).await
    }

    /// Changes a rule. What fires by the old one resolves at `at`; one that is as it was stays as it is.
    ///
    /// # Errors
    /// As [`insert_alert_rule`](Self::insert_alert_rule).
    pub async fn update_alert_rule(
        &self,
        team: TeamId,
        id: AlertRuleId,
        rule: AlertRule,
        at: Timestamp,
        entropy: Arc<dyn Entropy>,
    ) -> Result<RuleOutcome, StoreError> {
        self.file().write(move |tx| update(tx, team, id, rule, at, &*entropy)).await
    }

    /// Deletes a rule; `false` if the team has none of that id. What fires by it resolves at `at`.
    ///
    /// # Errors
    /// As [`insert_alert_rule`](Self::insert_alert_rule).
    pub async fn delete_alert_rule(
        &self,
        team: TeamId,
        id: AlertRuleId,
        at: Timestamp,
        entropy: Arc<dyn Entropy>,
    ) -> Result<bool, StoreError> {
        self.file().write(move |tx| delete(tx, team, id, at, &*entropy)).await
    }

    /// One of the team's rules.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn alert_rule(
        &self,
        team: TeamId,
        id: AlertRuleId,
    ) -> Result<Option<TeamAlertRule>, StoreError> {
        self.file().read(move |connection| find(connection, team, id)).await
    }

    /// The rules of one team, or of all, the oldest first.
    ///
    /// # Errors
    /// As [`alert_rule`](Self::alert_rule).
    pub async fn alert_rules(&self, team: Option<TeamId>) -> Result<Vec<TeamAlertRule>, StoreError> {
        let op = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} {FROM} WHERE ?1 IS NULL OR t.id = ?1 ORDER BY r.created_at, r.name"
            );
            let team = team.map(|team| team.as_uuid().as_bytes().to_vec());
            all(connection.prepare_cached(&sql)?, params![team], "alert_rules", decode)
        };
        self.file().read(op).await
    }
}
