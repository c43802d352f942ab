use std::time::Duration;

use sandscope_model::Webhook;

use crate::policy::RetryPolicy;

/// Widest window of a webhook.
pub(crate) const MAX_WINDOW: usize = 64;

/// What holds for webhooks that do not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// When failed deliveries are tried again, and how long an attempt may take.
    pub retry: RetryPolicy,
    /// Attempts of one webhook in flight at once.
    pub window: usize,
    /// After how long without a success a webhook is disabled; `None` is never.
    pub disable_after: Option<Duration>,
    /// How long an event may be pending before its webhook counts as lagging.
    pub lag_after: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            window: 8,
            disable_after: Some(Duration::from_secs(5 * 24 * 3600)),
            lag_after: Duration::from_secs(300),
        }
    }
}

impl Defaults {
    /// Attempts of `webhook` in flight at once.
    pub(crate) fn window(&self, webhook: &Webhook) -> usize {
        let own = webhook.options.max_in_flight.and_then(|max| usize::try_from(max).ok());
        own.unwrap_or(self.window).clamp(1, MAX_WINDOW)
    }

    /// After how long without a success `webhook` is disabled.
    pub(crate) fn patience(&self, webhook: &Webhook) -> Option<Duration> {
        match webhook.options.disable_after_s {
            Some(0) => None,
            Some(s) => Some(Duration::from_secs(s.into())),
            None => self.disable_after,
        }
    }
}
