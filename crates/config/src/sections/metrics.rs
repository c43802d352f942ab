use std::net::SocketAddr;
use std::time::Duration;

use crate::kind::{days, optional_address, seconds, switch, whole};
use crate::rules::Rules;
use crate::setting::section;

section! {
    /// How often samples are taken, how long they are kept, and who reads them.
    pub Metrics in "metrics" said "metrics" {
        /// Seconds between two samples of a sandbox's metrics
        interval: Duration = seconds(5, 1..=3600),
            key "interval_s", flag "metrics-interval-s" "SECONDS", env "SANDSCOPE_METRICS_INTERVAL_S";
        /// Days samples are kept
        retention_days: u32 = days(7, 1..=3650),
            key "retention_days", flag "metrics-retention-days" "DAYS", env "SANDSCOPE_METRICS_RETENTION_DAYS";
        /// Days the maxima and means of 30 and 300 seconds are kept, no fewer than samples
        rollup_days: u32 = days(30, 1..=3650),
            key "rollup_days", flag "metrics-rollup-days" "DAYS", env "SANDSCOPE_METRICS_ROLLUP_DAYS";
        /// Largest size of the samples' file in MiB, the oldest go first; 0 for none
        max_mb: u32 = whole(0, 0..=u32::MAX).counted_in("MiB"),
            key "max_mb", flag "metrics-max-mb" "MIB", env "SANDSCOPE_METRICS_MAX_MB";
        /// Address of the operator's port: /metrics for Prometheus, without a key
        operator_listen: Option<SocketAddr> = optional_address(),
            key "listen", flag "operator-listen" "ADDRESS", env "SANDSCOPE_OPERATOR_LISTEN";
        /// Busiest sandboxes that get series of their own
        n_top_sandboxes: usize = whole(0, 0..=1000).map(|n| n as usize, |n| u32::try_from(*n).unwrap_or(u32::MAX)),
            key "top_sandboxes", flag "metrics-top-sandboxes" "N", env "SANDSCOPE_METRICS_TOP_SANDBOXES";
        /// Enable the shipped alert rules
        default_alerts: bool = switch(false),
            key "default_alerts", flag "default-alerts" "BOOL", env "SANDSCOPE_DEFAULT_ALERTS";
    }
}

const ROLLUP: (&str, &str) = ("metrics", "rollup_days");

impl Metrics {
    pub(crate) fn check(&mut self, rules: &mut Rules<'_>) {
        if rules.given().get(ROLLUP.0, ROLLUP.1).is_none() && self.retention_days > self.rollup_days {
            self.rollup_days = self.retention_days;
            rules.show_instead(ROLLUP, &self.rollup_days.into());
        }
        let holds = self.rollup_days >= self.retention_days;
        rules.check(holds, ROLLUP, "metrics rollup_days must be no fewer than retention_days");
    }
}
