//! The log against itself, and against the rows and the webhooks' cursors.

use std::collections::{BTreeMap, BTreeSet};

use sandscope_model::{History, LoggedSandbox, Sandbox, SandboxId, StateName, SubjectKey, TeamId};
use sandscope_store::Store;

use super::report::Finding;

const PAGE: u32 = 1000;

/// Every team's log, as far as it has been read.
pub(super) struct Logs {
    teams: BTreeMap<TeamId, Log>,
    complaints: Vec<Finding>,
    n_events: u64,
}

struct Log {
    history: History,
    /// What the store says the newest event's number is.
    last_sequence: u64,
}

impl Logs {
    pub(super) async fn open(store: &Store) -> anyhow::Result<Self> {
        let mut teams = BTreeMap::new();
        for team in store.facts.teams().await? {
            // What is past its retention is gone from the front.
            let first = store.events.events_after(team.id, 0, 1).await?;
            let before = match first.first() {
                Some(event) => event.sequence - 1,
                None => store.events.last_sequence(team.id).await?,
            };
            teams.insert(team.id, Log { history: History::after(before), last_sequence: before });
        }
        Ok(Self { teams, complaints: Vec::new(), n_events: 0 })
    }

    /// Reads whatever has been added.
    pub(super) async fn read_on(&mut self, store: &Store) -> anyhow::Result<()> {
        for (team, log) in &mut self.teams {
            loop {
                let page = store.events.events_after(*team, log.history.last_sequence(), PAGE).await?;
                if page.is_empty() {
                    break;
                }
                for event in &page {
                    self.n_events += 1;
                    for complaint in log.history.push(event) {
                        let what = format!("event {}: {}", complaint.sequence, complaint.what);
                        let about = match complaint.subject {
                            SubjectKey::Sandbox(id) => id.to_string(),
                            other => other.to_string(),
                        };
                        self.complaints.push(Finding::wrong(&about, what));
                    }
                }
            }
            log.last_sequence = store.events.last_sequence(*team).await?;
        }
        Ok(())
    }

    pub(super) fn n_teams(&self) -> usize {
        self.teams.len()
    }

    pub(super) const fn n_events(&self) -> u64 {
        self.n_events
    }

    /// What contradicts itself in the log.
    pub(super) fn take_complaints(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.complaints)
    }

    /// Folding the log gives the live rows, and nothing else is live.
    pub(super) fn compare_rows(&self, rows: &[Sandbox], found: &mut BTreeSet<Finding>) {
        let live: BTreeSet<&SandboxId> = rows.iter().map(|row| &row.id).collect();
        for row in rows {
            let logged = self.teams.get(&row.team_id).and_then(|log| log.history.sandboxes().get(&row.id));
            found.extend(compare_row(row, logged).map(|what| Finding::wrong(&row.id, what)));
        }
        for (team, log) in &self.teams {
            let read = log.history.last_sequence();
            if log.last_sequence != read {
                let what = format!("its counter says {}, its log ends with {read}", log.last_sequence);
                found.insert(Finding::wrong(&format!("team {team}"), what));
            }
            for (id, logged) in log.history.sandboxes() {
                if logged.state != StateName::Killed && !live.contains(id) {
                    let what =
                        format!("the log says it is {}, but it is not recorded as alive", logged.state);
                    found.insert(Finding::wrong(id, what));
                }
            }
        }
    }

    /// No cursor is past the end of its log, and nothing is due that was never recorded.
    pub(super) async fn compare_webhooks(
        &self,
        store: &Store,
        found: &mut BTreeSet<Finding>,
    ) -> anyhow::Result<()> {
        for webhook in store.deliveries.all_webhooks().await? {
            let subject = format!("webhook {}", webhook.id);
            let cursor = store.deliveries.cursor(webhook.id).await?;
            let exceptions = store.deliveries.exceptions(webhook.id).await?;
            // After the others: the end of the log never goes back.
            let end = store.events.last_sequence(webhook.team_id).await?;
            if let Some(cursor) = cursor.filter(|cursor| *cursor > end) {
                let what = format!("its cursor is at {cursor}, its team's log ends with {end}");
                found.insert(Finding::wrong(&subject, what));
            }
            for exception in exceptions.iter().filter(|exception| exception.sequence > end) {
                let what = format!("event {} is due, its team's log ends with {end}", exception.sequence);
                found.insert(Finding::wrong(&subject, what));
            }
        }
        Ok(())
    }
}

/// What is wrong with a live row, compared with the log.
fn compare_row(row: &Sandbox, logged: Option<&LoggedSandbox>) -> Option<String> {
    let (state, generation) = (row.state.name(), row.generation);
    let at = |what: String| Some(format!("{what} (generation {generation})"));
    let Some(logged) = logged else {
        return (state != StateName::Creating)
            .then(|| format!("it is {state}, but no event says so (generation {generation})"));
    };
    // An intent is in no event yet.
    let may_be_logged: &[StateName] = match state {
        StateName::Running | StateName::Pausing => &[StateName::Running],
        StateName::Paused | StateName::Resuming => &[StateName::Paused],
        StateName::Killing => &[StateName::Running, StateName::Paused],
        StateName::Creating | StateName::Killed => &[],
    };
    if !may_be_logged.contains(&logged.state) {
        return at(format!("it is {state}, the log says {}", logged.state));
    }
    let is_resuming = state == StateName::Resuming;
    if !is_resuming && logged.execution_id != row.state.execution_id() {
        return at("it is in another execution than the log says".to_owned());
    }
    let logged_end = logged.set_timeout.filter(|_| state == StateName::Running);
    match logged_end {
        Some(end) if end.as_microsecond() != row.end_at.as_microsecond() => {
            at(format!("it ends at {}, the log says {end}", row.end_at))
        }
        _ => None,
    }
}
