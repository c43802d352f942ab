//! An execution that ended, as stored.

use sandscope_model::{ExecutionSummary, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExecutionForm {
    started_at: Timestamp,
    vcpu_count: u32,
    memory_mb: u32,
    execution_time_ms: u64,
}

impl ExecutionForm {
    pub(super) const fn of(execution: &ExecutionSummary) -> Self {
        let ExecutionSummary { started_at, vcpu_count, memory_mb, execution_time_ms } = *execution;
        Self { started_at, vcpu_count, memory_mb, execution_time_ms }
    }

    pub(super) const fn into_execution(self) -> ExecutionSummary {
        let Self { started_at, vcpu_count, memory_mb, execution_time_ms } = self;
        ExecutionSummary { started_at, vcpu_count, memory_mb, execution_time_ms }
    }
}
