//! Alerts: when something is worth reporting. Pure.
//!
//! A rule looks at one number ([`AlertMetric`]) of each of its subjects ([`SubjectKey`]): of a sandbox every second, of
//! a template, a label or the team by counting what the log says, of a webhook by how its deliveries go. What is given
//! for a rule, in a file or by the API, is checked in one place ([`AlertGiven::check`]).

mod by;
mod given;
mod notice;
mod watch;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use by::AlertBy;
pub use given::{AlertBounds, AlertGiven};
pub use notice::{AlertNotice, milli};
pub use watch::{AlertChange, AlertWatch};

use crate::{AlertRuleId, TeamId, Timestamp};

/// A number that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlertMetric {
    /// CPU over all the sandbox's CPUs, percent.
    CpuPct,
    /// Memory used of its limit, percent.
    MemPct,
    /// Disk used of its size, percent.
    DiskPct,
    /// Processes and threads.
    Processes,
    /// Processes of a running sandbox killed for lack of memory so far.
    OomKills,
    /// How often the log recorded within the rule's time that memory ran out: of one that lived on, or died of it.
    OutOfMemory,
    /// Deaths within the rule's time that nobody asked for.
    Crashes,
    /// CPU time given within the rule's time, in hours.
    VcpuHours,
    /// What usage within the rule's time costs, in the operator's currency.
    Cost,
    /// Seconds since deliveries to a webhook began to fail.
    WebhookFailingS,
    /// Events a webhook is behind.
    WebhookBehind,
    /// Whether the disk is short of room that the team's sandboxes are kept on: 1 or 0.
    HostDiskShort,
}

/// Where a metric's numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertSource {
    /// Every second of each running sandbox.
    Samples,
    /// The log, event by event.
    Events,
    /// The ledger.
    Usage,
    /// How deliveries to each webhook are going.
    Webhooks,
    /// The machine that sandboxes are kept on.
    Host,
}

impl AlertMetric {
    /// Every metric.
    pub const ALL: [Self; 12] = [
        Self::CpuPct,
        Self::MemPct,
        Self::DiskPct,
        Self::Processes,
        Self::OomKills,
        Self::OutOfMemory,
        Self::Crashes,
        Self::VcpuHours,
        Self::Cost,
        Self::WebhookFailingS,
        Self::WebhookBehind,
        Self::HostDiskShort,
    ];

    /// Its name in configuration, API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuPct => "cpuPct",
            Self::MemPct => "memPct",
            Self::DiskPct => "diskPct",
            Self::Processes => "processes",
            Self::OomKills => "oomKills",
            Self::OutOfMemory => "outOfMemory",
            Self::Crashes => "crashes",
            Self::VcpuHours => "vcpuHours",
            Self::Cost => "cost",
            Self::WebhookFailingS => "webhookFailingS",
            Self::WebhookBehind => "webhookBehind",
            Self::HostDiskShort => "hostDiskShort",
        }
    }

    /// Where its numbers come from.
    pub const fn source(self) -> AlertSource {
        match self {
            Self::CpuPct | Self::MemPct | Self::DiskPct | Self::Processes | Self::OomKills => {
                AlertSource::Samples
            }
            Self::OutOfMemory | Self::Crashes => AlertSource::Events,
            Self::VcpuHours | Self::Cost => AlertSource::Usage,
            Self::WebhookFailingS | Self::WebhookBehind => AlertSource::Webhooks,
            Self::HostDiskShort => AlertSource::Host,
        }
    }
}

impl fmt::Display for AlertMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric")]
pub struct UnknownAlertMetric;

impl FromStr for AlertMetric {
    type Err = UnknownAlertMetric;

    fn from_str(text: &str) -> Result<Self, UnknownAlertMetric> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == text).ok_or(UnknownAlertMetric)
    }
}

/// On which side of its threshold a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSide {
    /// At it or above.
    Above,
    /// At it or below.
    Below,
}

/// When to fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// Its name, unique among those that hold for a team.
    pub name: String,
    /// What it looks at.
    pub metric: AlertMetric,
    /// Which side is bad.
    pub side: AlertSide,
    /// The value at which it fires.
    pub threshold: f64,
    /// The value beyond which it resolves: on the good side of the threshold, or equal to it.
    pub clear: f64,
    /// Seconds for which either must last.
    pub for_s: u32,
    /// Seconds over which what happened is counted; 0 where nothing is.
    pub within_s: u32,
    /// What has a number of its own.
    pub by: AlertBy,
}

/// A rule a team made for itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TeamAlertRule {
    /// The rule's id.
    pub id: AlertRuleId,
    /// The owner of the rule.
    pub team_id: TeamId,
    /// How often it was changed.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it fires, as of the newest revision.
    pub rule: AlertRule,
}

impl AlertRule {
    /// What is worth knowing of anybody's sandboxes.
    pub fn defaults() -> Vec<Self> {
        let above = |name: &str, metric, threshold, clear, for_s| Self {
            name: name.to_owned(),
            metric,
            side: AlertSide::Above,
            threshold,
            clear,
            for_s,
            within_s: 0,
            by: AlertBy::Sandbox,
        };
        vec![
            Self { within_s: 600, ..above("out-of-memory", AlertMetric::OutOfMemory, 1.0, 1.0, 0) },
            Self {
                within_s: 600,
                by: AlertBy::Template,
                ..above("crash-loop", AlertMetric::Crashes, 3.0, 3.0, 0)
            },
            above("memory-nearly-full", AlertMetric::MemPct, 90.0, 80.0, 60),
            above("disk-nearly-full", AlertMetric::DiskPct, 90.0, 85.0, 60),
            above("stuck-cpu", AlertMetric::CpuPct, 98.0, 90.0, 600),
            Self { side: AlertSide::Below, ..above("idle", AlertMetric::CpuPct, 0.5, 2.0, 3600) },
            Self {
                by: AlertBy::Webhook,
                ..above("webhook-failing", AlertMetric::WebhookFailingS, 300.0, 300.0, 0)
            },
            Self { by: AlertBy::Team, ..above("host-disk-short", AlertMetric::HostDiskShort, 1.0, 1.0, 0) },
        ]
    }

    /// Whether it fires at `value`, once that lasts.
    pub fn is_bad(&self, value: f64) -> bool {
        match self.side {
            AlertSide::Above => value >= self.threshold,
            AlertSide::Below => value <= self.threshold,
        }
    }

    /// Whether it resolves at `value`, once that lasts.
    pub fn is_clear(&self, value: f64) -> bool {
        match self.side {
            AlertSide::Above => value < self.clear,
            AlertSide::Below => value > self.clear,
        }
    }
}
