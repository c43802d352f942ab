//! Rules over the log: what happened how often within a time.
//!
//! Each team's log is walked by a cursor that is stored with what was decided, and every event is held against the
//! rules at its own time: what came to its threshold while the server was down fires at the next start, and what was
//! decided before is not decided again. The windows are built from the log again at every start.
//!
//! The log itself is asked, once a second and for the two types that count, and not the store's feed: a position is
//! stored with each decision, so there is nothing to miss, and a `Tail` would read every event to drop most of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sandscope_model::{
    AlertSource, Event, EventFilter, EventType, KillReason, SubjectKey, TeamId, Timestamp,
};
use sandscope_store::{AlertDecision, EventQuery, Order, StoreError};

use crate::publisher::{Firing, Publisher};
use crate::rulebook::{Rule, Rulebook};
use crate::windows::{Window, counts};

/// Events read at once.
const BATCH: u32 = 500;
/// Events the cursor may be behind what was looked at while there was nothing to publish: they are looked at again, to
/// the same end.
const UNSTORED: u64 = 1_000;

#[derive(Default)]
pub(crate) struct Log {
    teams: HashMap<TeamId, TeamLog>,
}

#[derive(Default)]
struct TeamLog {
    rules: Vec<Followed>,
    firing: Firing,
    /// Whether the windows are as the log says, up to `cursor`.
    is_built: bool,
    /// Up to where the log has been looked at; before the first look: 0.
    cursor: u64,
    stored: u64,
}

struct Followed {
    rule: Arc<Rule>,
    window: Window,
}

impl Log {
    /// Follows for the rules as they are now.
    pub(crate) fn take_up(&mut self, team: TeamId, rulebook: &Rulebook, firing: &Firing) {
        let rules = rulebook.of(team, AlertSource::Events).map(|rule| Followed {
            window: Window::new(rule.rule.within_s, rule.rule.by.clone()),
            rule: Arc::clone(rule),
        });
        let rules: Vec<_> = rules.collect();
        let slots: HashSet<u64> = rules.iter().map(|followed| followed.rule.slot).collect();
        let firing = firing.iter().filter(|(slot, _)| slots.contains(slot)).cloned().collect();
        let log = self.teams.entry(team).or_default();
        (log.rules, log.firing, log.is_built) = (rules, firing, false);
    }

    pub(crate) async fn round(
        &mut self,
        publisher: &Publisher,
        rulebook: &Rulebook,
    ) -> Result<(), StoreError> {
        for team in rulebook.teams() {
            let Some(log) = self.teams.get_mut(&team) else { continue };
            let outcome = log.round(publisher, team).await;
            if outcome.is_err() {
                // What was counted but not stored is counted again.
                (log.is_built, log.cursor) = (false, log.stored);
                outcome?;
            }
        }
        Ok(())
    }
}

impl TeamLog {
    async fn round(&mut self, publisher: &Publisher, team: TeamId) -> Result<(), StoreError> {
        let options = &publisher.options;
        if self.rules.is_empty() {
            if !self.is_built {
                if options.alerts.alert_cursor(team).await?.is_some() {
                    options.alerts.forget_alert_cursor(team).await?;
                }
                (self.is_built, self.cursor) = (true, 0);
            }
            return Ok(());
        }
        if !self.is_built {
            self.build(publisher, team).await?;
        }
        self.walk(publisher, team).await?;
        self.resolve(publisher, team).await
    }

    /// Counts what the log says up to the cursor, and fires what has come to its threshold by now: for a new rule.
    async fn build(&mut self, publisher: &Publisher, team: TeamId) -> Result<(), StoreError> {
        let options = &publisher.options;
        let found = options.alerts.alert_cursor(team).await?;
        let cursor = match found {
            // A rule made meanwhile is not held against what was looked at before it was there.
            Some(stored) => stored.max(self.cursor),
            None => options.events.last_sequence(team).await?,
        };
        let now = publisher.now();
        let next =
            options.events.event(team, cursor + 1).await?.map_or(now, |event| event.timestamp.min(now));
        for Followed { rule, window } in &mut self.rules {
            *window = Window::new(rule.rule.within_s, rule.rule.by.clone());
        }
        let within_s = self.rules.iter().map(|followed| followed.rule.rule.within_s).max().unwrap_or(0);
        let start = next.checked_sub(std::time::Duration::from_secs(within_s.into())).unwrap_or(next);
        let crashes = EventFilter { reasons: KillReason::CRASHES.to_vec(), ..EventFilter::default() };
        let memory = EventFilter { types: vec![EventType::OutOfMemory], ..EventFilter::default() };
        for filter in [crashes, memory] {
            self.count_up_to(publisher, team, EventFilter { start: Some(start), ..filter }, cursor).await?;
        }
        (self.cursor, self.stored) = (cursor, cursor);
        let mut fired = Vec::new();
        for Followed { rule, window } in &self.rules {
            let due = window.subjects().filter_map(|subject| {
                let n = float(window.count(subject, publisher.line.now()));
                rule.rule.is_bad(n).then_some((subject, n))
            });
            for (subject, n) in due {
                if let Some(newest) = window.newest(subject)
                    && !self.firing.contains(&(rule.slot, subject.clone()))
                {
                    fired.push((rule.slot, publisher.fire(team, rule, newest.clone(), n, now)));
                }
            }
        }
        let is_new = found.is_none();
        self.publish(publisher, team, fired, is_new).await?;
        self.is_built = true;
        Ok(())
    }

    async fn count_up_to(
        &mut self,
        publisher: &Publisher,
        team: TeamId,
        filter: EventFilter,
        cursor: u64,
    ) -> Result<(), StoreError> {
        let (events, line) = (&publisher.options.events, &publisher.line);
        let mut position = None;
        loop {
            let query =
                EventQuery { filter: filter.clone(), position, limit: BATCH, order: Order::Asc, offset: 0 };
            let page = events.event_page(team, query).await?;
            for event in page.events.iter().take_while(|event| event.sequence <= cursor) {
                self.count(event, line.past(event.timestamp));
            }
            if !page.has_more || page.position >= cursor {
                return Ok(());
            }
            position = Some(page.position);
        }
    }

    /// Counts an event that happened at `at`, and says for whom by which rule.
    fn count(&mut self, event: &Event, at: Timestamp) -> Vec<(usize, SubjectKey)> {
        let mut counted = Vec::new();
        for (index, Followed { rule, window }) in self.rules.iter_mut().enumerate() {
            if counts(rule.rule.metric, event) {
                counted.extend(window.add(event, at).map(|subject| (index, subject)));
            }
        }
        counted
    }

    /// Looks at what is new.
    async fn walk(&mut self, publisher: &Publisher, team: TeamId) -> Result<(), StoreError> {
        let filter =
            EventFilter { types: vec![EventType::Killed, EventType::OutOfMemory], ..EventFilter::default() };
        loop {
            let query = EventQuery {
                filter: filter.clone(),
                position: Some(self.cursor),
                limit: BATCH,
                order: Order::Asc,
                offset: 0,
            };
            let page = publisher.options.events.event_page(team, query).await?;
            publisher.options.stats.events(page.events.len());
            let mut fired = Vec::new();
            let mut seen = HashSet::new();
            for event in &page.events {
                let at = publisher.line.past(event.timestamp);
                for (index, subject) in self.count(event, at) {
                    let Followed { rule, window } = &self.rules[index];
                    let n = float(window.count(&subject, at));
                    let key = (rule.slot, subject);
                    if rule.rule.is_bad(n)
                        && !self.firing.contains(&key)
                        && let Some(newest) = window.newest(&key.1)
                        && seen.insert(key.clone())
                    {
                        fired.push((key.0, publisher.fire(team, rule, newest.clone(), n, publisher.now())));
                    }
                }
            }
            publisher.options.stats.evaluated(page.events.len() * self.rules.len());
            self.cursor = page.position;
            let is_far = self.cursor.saturating_sub(self.stored) >= UNSTORED;
            self.publish(publisher, team, fired, is_far).await?;
            if !page.has_more {
                return Ok(());
            }
        }
    }

    /// Resolves what has fallen below.
    async fn resolve(&mut self, publisher: &Publisher, team: TeamId) -> Result<(), StoreError> {
        let now = publisher.line.now();
        let (mut resolved, mut gone) = (Vec::new(), Vec::new());
        for (slot, subject) in &self.firing {
            let Some(Followed { rule, window }) = self.rules.iter().find(|f| f.rule.slot == *slot) else {
                continue;
            };
            let n = float(window.count(subject, now));
            if rule.rule.is_clear(n) {
                resolved.push(publisher.resolve(rule.key(subject.clone()), Some(n), None));
                gone.push((*slot, subject.clone()));
            }
        }
        if !resolved.is_empty() {
            // With the cursor: what was looked at while it fired must not fire again.
            publisher.publish(team, resolved, Some(self.cursor)).await?;
            self.stored = self.cursor;
            gone.iter().for_each(|key| {
                self.firing.remove(key);
            });
        }
        self.expire(now);
        Ok(())
    }

    fn expire(&mut self, now: Timestamp) {
        self.rules.iter_mut().for_each(|followed| followed.window.expire(now));
    }

    async fn publish(
        &mut self,
        publisher: &Publisher,
        team: TeamId,
        fired: Vec<(u64, AlertDecision)>,
        even_if_nothing: bool,
    ) -> Result<(), StoreError> {
        if fired.is_empty() && !even_if_nothing {
            return Ok(());
        }
        let keys: Vec<_> = fired
            .iter()
            .filter_map(|(slot, decision)| match decision {
                AlertDecision::Fire { alert, .. } => Some((*slot, alert.key.subject.clone())),
                AlertDecision::Resolve { .. } => None,
            })
            .collect();
        let decisions = fired.into_iter().map(|(_, decision)| decision).collect();
        publisher.publish(team, decisions, Some(self.cursor)).await?;
        self.stored = self.cursor;
        self.firing.extend(keys);
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are bounded")]
fn float(n: usize) -> f64 {
    n as f64
}
