//! The machine that sandboxes run on, as operators see it.

use sandscope_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::details::PressureMetrics;

/// The only cluster there is.
pub const CLUSTER_ID: &str = "00000000-0000-0000-0000-000000000000";

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// The server's version.
    pub version: String,
    /// The git commit that it was built from; `unknown` where the sources were no checkout.
    pub commit: String,
    /// The machine's name.
    pub id: String,
    /// Another one for each start of the server.
    #[serde(rename = "serviceInstanceID")]
    #[schema(value_type = uuid::Uuid)]
    pub service_instance_id: String,
    /// Always the same: there is one cluster.
    #[serde(rename = "clusterID")]
    #[schema(value_type = uuid::Uuid)]
    pub cluster_id: String,
    /// What it is.
    pub machine_info: MachineInfo,
    /// `ready` or `draining`.
    pub status: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub status_changed_at: Timestamp,
    /// Sandboxes that run.
    pub sandbox_count: u32,
    /// What they have and what is used.
    pub metrics: NodeMetrics,
    /// Sandboxes made since the server started.
    pub create_successes: u64,
    /// Sandboxes that could not be made.
    pub create_fails: u64,
    /// Sandboxes being made.
    pub sandbox_starting_count: u64,
    /// What else there is to know.
    pub sandscope: NodeExtra,
}

/// A machine's processor.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineInfo {
    /// Its family.
    pub cpu_family: String,
    /// Its model.
    pub cpu_model: String,
    /// Its name.
    pub cpu_model_name: String,
    /// Its architecture.
    pub cpu_architecture: String,
}

/// What sandboxes were given, and what the whole machine uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeMetrics {
    /// CPUs of running sandboxes.
    #[serde(rename = "allocatedCPU")]
    pub allocated_cpu: u32,
    /// CPU in use, percent of all CPUs, since the last question or, if that was within a second, the one before.
    #[serde(rename = "cpuPercent")]
    pub cpu_percent: u32,
    /// CPUs.
    #[serde(rename = "cpuCount")]
    pub cpu_count: u32,
    /// Memory limits of running and paused sandboxes.
    #[serde(rename = "allocatedMemoryBytes")]
    pub allocated_memory_bytes: u64,
    /// Memory that is not available.
    #[serde(rename = "memoryUsedBytes")]
    pub memory_used_bytes: u64,
    /// Memory.
    #[serde(rename = "memoryTotalBytes")]
    pub memory_total_bytes: u64,
    /// Huge pages.
    #[serde(rename = "hugePagesTotal")]
    pub huge_pages_total: u64,
    /// Those in use.
    #[serde(rename = "hugePagesUsed")]
    pub huge_pages_used: u64,
    /// Those reserved.
    #[serde(rename = "hugePagesReserved")]
    pub huge_pages_reserved: u64,
    /// Bytes of one.
    #[serde(rename = "hugePageSizeBytes")]
    pub huge_page_size_bytes: u64,
    /// The disk of the data directory.
    pub disks: Vec<NodeDisk>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeDisk {
    /// Where it is mounted.
    pub mount_point: String,
    /// Its device.
    pub device: String,
    /// Its file system.
    pub filesystem_type: String,
    /// Bytes not available to the server.
    pub used_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
}

/// What operators want to know besides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeExtra {
    /// Sandboxes by state.
    pub sandboxes: NodeSandboxes,
    /// What running sandboxes use, as of the last second.
    pub used: NodeUse,
    /// Size of the writable layers of all sandboxes, in bytes.
    pub allocated_disk_bytes: u64,
    /// Processes that run or wait to, over the last 1, 5 and 15 minutes; `null` if unknown.
    #[schema(required)]
    pub load: Option<[f64; 3]>,
    /// Time lost waiting on the whole machine; `null` where the kernel does not say.
    pub pressure: PressureMetrics,
    /// How comparing store and host has been going.
    pub reconciler: ReconcilerView,
}

/// Sandboxes by state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSandboxes {
    /// They run.
    pub running: u32,
    /// They are paused.
    pub paused: u32,
    /// They are about to be something else.
    pub changing: u32,
}

/// What is used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeUse {
    /// CPUs.
    pub cpu_cores: f64,
    /// Memory without reclaimable cache.
    pub memory_bytes: u64,
    /// Writable layers.
    pub disk_bytes: u64,
}

/// How comparing store and host has been going.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconcilerView {
    /// Comparisons since the server started.
    pub rounds: u64,
    /// Those that failed.
    pub failed_rounds: u64,
    /// When the last one ended.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
    /// How long it took, in seconds.
    pub last_seconds: f64,
    /// Disagreements it saw, those included that may be of something under way.
    pub open: u64,
    /// Disagreements put right since the server started.
    pub settled: u64,
    /// What it could not put right.
    pub problems: Vec<String>,
}
