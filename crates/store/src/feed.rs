//! What is published after a commit, to whoever subscribed in this process. It knows no database: a writer of whatever kind
//! collects what its transaction brought, and publishes that once it is committed.

use std::sync::Arc;

use sandscope_model::{Event, EventCounter};
use tokio::sync::{broadcast, watch};

/// Events the feed keeps for a receiver that is behind. One that falls further behind reads the log.
pub(crate) const FEED: usize = 1024;

/// Whom to inform after a commit.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) webhooks: watch::Sender<u64>,
    pub(crate) alert_rules: watch::Sender<u64>,
    pub(crate) committed: Arc<EventCounter>,
}

impl Feed {
    /// One that nobody listens to yet.
    pub(crate) fn new() -> Self {
        Self {
            events: broadcast::Sender::new(FEED),
            webhooks: watch::Sender::new(0),
            alert_rules: watch::Sender::new(0),
            committed: Arc::default(),
        }
    }

    pub(crate) fn publish(&self, effects: Effects) {
        for event in effects.events {
            self.committed.count(&event);
            // No receiver is no error.
            let _ = self.events.send(event);
        }
        if effects.n_webhook_changes > 0 {
            self.webhooks.send_modify(|n| *n += 1);
        }
        if effects.n_alert_rule_changes > 0 {
            self.alert_rules.send_modify(|n| *n += 1);
        }
    }
}

/// What a transaction has brought so far.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    events: Vec<Arc<Event>>,
    n_webhook_changes: usize,
    n_alert_rule_changes: usize,
}

impl Effects {
    pub(crate) fn event(&mut self, event: Arc<Event>) {
        self.events.push(event);
    }

    pub(crate) fn webhooks_changed(&mut self) {
        self.n_webhook_changes += 1;
    }

    pub(crate) fn alert_rules_changed(&mut self) {
        self.n_alert_rule_changes += 1;
    }

    /// How far they have come.
    pub(crate) fn mark(&self) -> (usize, usize, usize) {
        (self.events.len(), self.n_webhook_changes, self.n_alert_rule_changes)
    }

    /// Forgets what came after `mark`.
    pub(crate) fn go_back(&mut self, mark: (usize, usize, usize)) {
        self.events.truncate(mark.0);
        (self.n_webhook_changes, self.n_alert_rule_changes) = (mark.1, mark.2);
    }
}
