//! Alerts: a rule, and what it makes of a sandbox's numbers. Pure.
//!
//! ```text
//!            over                     over for `for_s`
//!   Quiet ─────────► Pending(since) ───────────────────► Firing ──┐ beyond `clear` for `for_s`: resolved
//!     ▲                 │ under, or a gap                  ▲       ▼
//!     └─────────────────┴──────────────────────────────────┴── Clearing(since)
//! ```
//!
//! Hysteresis keeps an alert quiet that hovers around its threshold: it fires above one value and resolves only below
//! another, and both must last. A gap in the numbers (a pause) proves nothing: whatever was pending starts over, and what
//! fires goes on firing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Seconds between two numbers after which they are not of one stretch.
const GAP_S: i64 = 15;

/// A number of a sandbox that a rule looks at.
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
    /// Processes killed for lack of memory so far.
    OomKills,
}

impl AlertMetric {
    /// Every metric.
    pub const ALL: [Self; 5] = [Self::CpuPct, Self::MemPct, Self::DiskPct, Self::Processes, Self::OomKills];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuPct => "cpuPct",
            Self::MemPct => "memPct",
            Self::DiskPct => "diskPct",
            Self::Processes => "processes",
            Self::OomKills => "oomKills",
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
#[serde(rename_all = "camelCase")]
pub enum AlertSide {
    /// At it or above.
    Above,
    /// At it or below.
    Below,
}

/// When to fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// Its name, unique.
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
}

impl AlertRule {
    /// What is worth knowing of any sandbox.
    pub fn defaults() -> Vec<Self> {
        let above = |name: &str, metric, threshold, clear, for_s| Self {
            name: name.to_owned(),
            metric,
            side: AlertSide::Above,
            threshold,
            clear,
            for_s,
        };
        vec![
            above("out-of-memory", AlertMetric::OomKills, 1.0, 1.0, 0),
            above("memory-nearly-full", AlertMetric::MemPct, 90.0, 80.0, 60),
            above("disk-nearly-full", AlertMetric::DiskPct, 90.0, 85.0, 60),
            above("stuck-cpu", AlertMetric::CpuPct, 98.0, 90.0, 600),
            Self {
                name: "idle".to_owned(),
                metric: AlertMetric::CpuPct,
                side: AlertSide::Below,
                threshold: 0.5,
                clear: 2.0,
                for_s: 3600,
            },
        ]
    }

    fn is_bad(&self, value: f64) -> bool {
        match self.side {
            AlertSide::Above => value >= self.threshold,
            AlertSide::Below => value <= self.threshold,
        }
    }

    fn is_clear(&self, value: f64) -> bool {
        match self.side {
            AlertSide::Above => value < self.clear,
            AlertSide::Below => value > self.clear,
        }
    }
}

/// What an event says about an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertNotice {
    /// The rule's name.
    pub rule: String,
    /// What it looks at.
    pub metric: AlertMetric,
    /// Where it fires, in thousandths.
    pub threshold_milli: i64,
    /// The number that decided it, where one did, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_milli: Option<i64>,
    /// Why it resolved, where no number did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Thousandths of a number, as notices keep them.
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no number gives 0")]
pub fn milli(number: f64) -> i64 {
    (number * 1000.0).round() as i64
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertChange {
    /// It fires.
    Firing,
    /// It does not any more.
    Resolved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Quiet,
    Pending(Timestamp),
    Firing,
    Clearing(Timestamp),
}

/// One rule's eye on one sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertWatch {
    phase: Phase,
    seen_at: Option<Timestamp>,
}

impl AlertWatch {
    /// The eye on an alert that is firing already, as after a restart.
    pub fn firing() -> Self {
        Self { phase: Phase::Firing, seen_at: None }
    }

    /// Whether the alert is firing.
    pub const fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing | Phase::Clearing(_))
    }

    /// Takes the next number and says what it changed.
    pub fn see(&mut self, rule: &AlertRule, value: f64, at: Timestamp) -> Option<AlertChange> {
        let is_gap = self.seen_at.is_none_or(|seen| {
            let apart = at.as_second().saturating_sub(seen.as_second());
            !(0..=GAP_S).contains(&apart)
        });
        self.seen_at = Some(at);
        if is_gap {
            self.phase = match self.phase {
                Phase::Pending(_) => Phase::Quiet,
                Phase::Clearing(_) => Phase::Firing,
                phase => phase,
            };
        }
        let lasted = |since: Timestamp| {
            at.as_millisecond().saturating_sub(since.as_millisecond()) >= i64::from(rule.for_s) * 1_000
        };
        let (phase, change) = match self.phase {
            Phase::Quiet if rule.is_bad(value) && rule.for_s == 0 => {
                (Phase::Firing, Some(AlertChange::Firing))
            }
            Phase::Quiet if rule.is_bad(value) => (Phase::Pending(at), None),
            Phase::Pending(since) if rule.is_bad(value) && lasted(since) => {
                (Phase::Firing, Some(AlertChange::Firing))
            }
            Phase::Pending(_) if !rule.is_bad(value) => (Phase::Quiet, None),
            Phase::Firing if rule.is_clear(value) && rule.for_s == 0 => {
                (Phase::Quiet, Some(AlertChange::Resolved))
            }
            Phase::Firing if rule.is_clear(value) => (Phase::Clearing(at), None),
            Phase::Clearing(since) if rule.is_clear(value) && lasted(since) => {
                (Phase::Quiet, Some(AlertChange::Resolved))
            }
            Phase::Clearing(_) if !rule.is_clear(value) => (Phase::Firing, None),
            phase => (phase, None),
        };
        self.phase = phase;
        change
    }
}

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
