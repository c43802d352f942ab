//! Metric samples as answered.

use std::collections::BTreeMap;

use sandscope_model::{Sample, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::to_second;

/// One sample. All nine keys are always there: clients fail on a missing one.
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
}

impl From<&Sample> for SandboxMetric {
    fn from(sample: &Sample) -> Self {
        Self {
            timestamp: to_second(sample.at),
            timestamp_unix: sample.at.as_second(),
            cpu_count: sample.cpu_count,
            cpu_used_pct: sample.cpu_used_pct,
            mem_used: sample.mem_used_bytes,
            mem_total: sample.mem_total_bytes,
            mem_cache: sample.mem_cache_bytes,
            disk_used: sample.disk_used_bytes,
            disk_total: sample.disk_total_bytes,
        }
    }
}

/// The newest sample of each sandbox asked for; sandboxes without one are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SandboxesWithMetrics {
    /// By sandbox id.
    pub sandboxes: BTreeMap<String, SandboxMetric>,
}
