//! Metric samples as answered.

use std::collections::BTreeMap;

use sandscope_model::{ActivityPoint, MetricField, Sample, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::details::PressureMetrics;
use crate::more_metrics::MoreMetrics;
use crate::time::to_second;

/// One sample. The first nine keys are always there: clients fail on a missing one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxMetric {
    /// When, to the second.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The same as unix seconds.
    pub timestamp_unix: i64,
    /// CPUs the sandbox may use.
    pub cpu_count: u32,
    /// CPU used over all of them together, 0 to 100.
    pub cpu_used_pct: f64,
    /// Memory in use without reclaimable cache, in bytes.
    pub mem_used: u64,
    /// Memory limit, in bytes.
    pub mem_total: u64,
    /// Page cache, in bytes.
    pub mem_cache: u64,
    /// Used part of the writable layer, in bytes.
    pub disk_used: u64,
    /// Size of the writable layer, in bytes.
    pub disk_total: u64,
    /// Further numbers, where the kernel reports them.
    #[serde(flatten)]
    pub more: MoreMetrics,
}

impl From<&Sample> for SandboxMetric {
    fn from(sample: &Sample) -> Self {
        Self {
            timestamp: to_second(sample.at),
            timestamp_unix: sample.at.as_second(),
            cpu_count: sample.cpu_count(),
            cpu_used_pct: sample.cpu_used_pct(),
            mem_used: sample.or_zero(MetricField::MemUsed),
            mem_total: sample.or_zero(MetricField::MemTotal),
            mem_cache: sample.or_zero(MetricField::MemCache),
            disk_used: sample.or_zero(MetricField::DiskUsed),
            disk_total: sample.or_zero(MetricField::DiskTotal),
            more: (&sample.values).into(),
        }
    }
}

/// The newest sample of each sandbox asked for; sandboxes without one are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SandboxesWithMetrics {
    /// By sandbox id.
    pub sandboxes: BTreeMap<String, SandboxMetric>,
}

/// A team's activity in one step of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TeamMetric {
    /// Start of the step.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The same as unix seconds.
    pub timestamp_unix: i64,
    /// The most sandboxes that ran at once.
    pub concurrent_sandboxes: u32,
    /// Sandboxes created per second, over the step.
    pub sandbox_start_rate: f64,
}

/// The largest value of a team's activity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaxTeamMetric {
    /// When it was reached.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The same as unix seconds.
    pub timestamp_unix: i64,
    /// The value.
    pub value: f64,
}

impl TeamMetric {
    /// What a step of `step_s` seconds was like.
    pub fn new(point: &ActivityPoint, step_s: u32) -> Self {
        Self {
            timestamp: point.at,
            timestamp_unix: point.at.as_second(),
            concurrent_sandboxes: point.max_concurrent,
            sandbox_start_rate: f64::from(point.n_created) / f64::from(step_s.max(1)),
        }
    }
}

impl MaxTeamMetric {
    /// A value reached at `at`.
    pub fn new(at: Timestamp, value: f64) -> Self {
        Self { timestamp: to_second(at), timestamp_unix: at.as_second(), value }
    }
}

/// One sandbox in one second, in a live stream: the usual numbers over that second, and a few more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveMetric {
    /// The numbers of a sample; of seconds before the stream began only the nine usual ones.
    #[serde(flatten)]
    pub metric: SandboxMetric,
    /// Stalls; absent where the kernel does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<PressureMetrics>,
}

impl From<&Sample> for LiveMetric {
    fn from(sample: &Sample) -> Self {
        Self { metric: sample.into(), pressure: None }
    }
}

/// All running sandboxes of a team in one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveTeam {
    /// When, as unix seconds.
    pub timestamp_unix: i64,
    /// By sandbox id.
    pub sandboxes: BTreeMap<String, LiveMetric>,
}
