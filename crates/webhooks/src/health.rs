//! How deliveries to one webhook have been going, and what is published about it: pure bookkeeping, stored with the
//! progress it comes from, so that a crash neither forgets nor repeats it.
//!
//! ```text
//! well ──first failure──▶ failing ──exhausted──▶ event `webhook.exhausted` (once until it is well again)
//!   ▲                        │ ─pending too long─▶ event `webhook.lagging`
//!   │                        └─────failing too long, or 410──▶ disabled, event `webhook.disabled`
//!   └──── success, and nothing is pending for long: event `webhook.recovered`, if one of these was published
//! ```

use std::time::Duration;

use sandscope_model::{
    Component, Entropy, Event, EventDraft, EventId, Fact, Origin, SandboxRef, Subject, Timestamp, Webhook,
    WebhookChange, WebhookHealth, WebhookNotice,
};

/// A webhook is not disabled for fewer failures than this, however long ago the first was.
const LEAST_FAILURES: u32 = 10;

/// What has to be stored and published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) health: Option<WebhookHealth>,
    pub(crate) notices: Vec<EventDraft>,
    pub(crate) disable: bool,
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Follows one webhook's health.
pub(crate) struct Watch {
    health: WebhookHealth,
    news: News,
    /// Nothing is attempted any more until the webhook is seen to be disabled.
    disabling: bool,
}

impl Watch {
    pub(crate) fn new(health: WebhookHealth) -> Self {
        Self { health, news: News::default(), disabling: false }
    }

    pub(crate) const fn is_failing(&self) -> bool {
        self.health.failing_since.is_some()
    }

    pub(crate) const fn is_disabling(&self) -> bool {
        self.disabling
    }

    /// Something arrived; `behind` says whether anything is pending for long.
    pub(crate) fn delivered(
        &mut self,
        webhook: &Webhook,
        event: &Event,
        behind: bool,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        if self.is_failing() {
            self.health.failing_since = None;
            self.health.n_failed = 0;
            self.changed();
        }
        if !self.health.reported.is_empty() && !behind {
            self.publish(WebhookChange::Recovered, "deliveries succeed again", webhook, event, now, entropy);
            self.health.reported.clear();
            self.changed();
        }
    }

    /// An attempt failed; `patience` is how long that may go on, `None` for ever.
    pub(crate) fn failed(
        &mut self,
        webhook: &Webhook,
        event: &Event,
        patience: Option<Duration>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        let since = *self.health.failing_since.get_or_insert(now);
        self.health.n_failed = self.health.n_failed.saturating_add(1);
        self.changed();
        let failing_for = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        if self.health.n_failed >= LEAST_FAILURES
            && let Some(patience) = patience.filter(|patience| failing_for >= *patience)
        {
            let reason = format!("every attempt failed for {} s", patience.as_secs());
            self.disable(reason, webhook, event, now, entropy);
        }
    }

    /// A delivery ran out of attempts.
    pub(crate) fn exhausted(
        &mut self,
        webhook: &Webhook,
        event: &Event,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        let reason = "a delivery ran out of attempts; it and those that follow are among the dead letters";
        self.tell_once(WebhookChange::Exhausted, reason, webhook, event, now, entropy);
    }

    /// Something is pending for long.
    pub(crate) fn behind(&mut self, webhook: &Webhook, event: &Event, now: Timestamp, entropy: &dyn Entropy) {
        let reason = "an event has been waiting for long";
        self.tell_once(WebhookChange::Lagging, reason, webhook, event, now, entropy);
    }

    /// The webhook is not to be delivered to any more.
    pub(crate) fn disable(
        &mut self,
        reason: String,
        webhook: &Webhook,
        event: &Event,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        if !self.disabling {
            self.disabling = true;
            self.news.disable = true;
            self.publish(WebhookChange::Disabled, &reason, webhook, event, now, entropy);
            self.health.reported.insert(WebhookChange::Disabled);
            self.health.disabled_reason = Some(reason);
            self.changed();
        }
    }

    /// What has to be stored, if anything has.
    pub(crate) fn take(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// `news` could not be stored: it is part of the next.
    pub(crate) fn take_back(&mut self, news: News) {
        let later = std::mem::take(&mut self.news);
        self.news = News {
            health: later.health.or(news.health),
            notices: news.notices.into_iter().chain(later.notices).collect(),
            disable: news.disable || later.disable,
        };
    }

    fn changed(&mut self) {
        self.news.health = Some(self.health.clone());
    }

    fn tell_once(
        &mut self,
        change: WebhookChange,
        reason: &str,
        webhook: &Webhook,
        event: &Event,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        if self.health.reported.insert(change) {
            self.changed();
            self.publish(change, reason, webhook, event, now, entropy);
        }
    }

    fn publish(
        &mut self,
        change: WebhookChange,
        reason: &str,
        webhook: &Webhook,
        event: &Event,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        // A webhook that receives events about others' failures and cannot be reached must not make more of them.
        if event.event_type().is_operational() {
            return;
        }
        let notice = WebhookNotice {
            id: webhook.id,
            name: webhook.name.clone(),
            reason: reason.to_owned(),
            failing_since: self.health.failing_since,
            n_failed: self.health.n_failed,
            event_id: event.id,
            sandbox: event.sandbox().map(SandboxRef::without_labels),
        };
        self.news.notices.push(EventDraft {
            id: EventId::generate(entropy),
            team_id: webhook.team_id,
            timestamp: now,
            subject: Subject::Webhook(webhook.id),
            origin: Some(Origin::system(Component::Server)),
            fact: Fact::Webhook { change, notice: Box::new(notice) },
        });
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
