use sandscope_model::TeamLimits;

use crate::kind::{days, whole};
use crate::setting::section;

section! {
    /// Limits of the first team.
    pub(crate) Team in "team" said "" {
        /// Sandboxes of the first team at once
        max_concurrent_sandboxes: u32 = whole(TeamLimits::default().max_concurrent_sandboxes, 1..=1_000_000),
            key "max_concurrent_sandboxes", flag "max-concurrent-sandboxes" "N",
            env "SANDSCOPE_MAX_CONCURRENT_SANDBOXES";
        /// Longest timeout the first team may set, in hours
        max_timeout_hours: u32 = whole(TeamLimits::default().max_timeout_s / 3600, 1..=8760).counted_in("hours"),
            key "max_timeout_hours", flag "max-timeout-hours" "HOURS", env "SANDSCOPE_MAX_TIMEOUT_HOURS";
        /// Days the first team's events are kept
        event_retention_days: u32 = days(TeamLimits::default().event_retention_days.into(), 1..=365),
            key "event_retention_days", flag "event-retention-days" "DAYS",
            env "SANDSCOPE_EVENT_RETENTION_DAYS";
        /// Webhooks the first team may register
        max_webhooks: u32 = whole(TeamLimits::default().max_webhooks, 0..=10_000),
            key "max_webhooks", flag "max-webhooks" "N", env "SANDSCOPE_MAX_WEBHOOKS";
    }
}

impl Team {
    pub(crate) fn limits(&self) -> TeamLimits {
        TeamLimits {
            max_concurrent_sandboxes: self.max_concurrent_sandboxes,
            max_timeout_s: self.max_timeout_hours * 3600,
            event_retention_days: u16::try_from(self.event_retention_days).unwrap_or(u16::MAX),
            max_webhooks: self.max_webhooks,
        }
    }
}
