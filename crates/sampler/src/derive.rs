use sandscope_model::{Counters, Sample, SandboxId, TeamId, Timestamp};

/// Whose readings they are, and what they are measured against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The sandbox.
    pub sandbox_id: SandboxId,
    /// Whose that is.
    pub team_id: TeamId,
    /// CPUs it may use, at least 1.
    pub cpu_count: u32,
    /// Memory it may use, in bytes.
    pub memory_bytes: u64,
}

/// Makes a sample, taken at `at`, out of two readings. `None` if no time passed between them on the host's own clock
/// (or it was restarted in between), because nothing can be said about speed then.
///
/// Differences saturate: a counter that restarted reads as nothing used, never as an absurd amount.
pub fn derive(prev: &Counters, next: &Counters, subject: &Subject, at: Timestamp) -> Option<Sample> {
    let elapsed_usec = next.taken_at_usec.checked_sub(prev.taken_at_usec).filter(|usec| *usec > 0)?;
    let used_usec = next.cpu_usage_usec.saturating_sub(prev.cpu_usage_usec);
    Some(Sample {
        sandbox_id: subject.sandbox_id.clone(),
        at,
        cpu_used_pct: cpu_used_pct(used_usec, elapsed_usec, subject.cpu_count),
        cpu_count: subject.cpu_count,
        mem_used_bytes: next.memory_current_bytes.saturating_sub(next.memory_inactive_file_bytes),
        mem_total_bytes: subject.memory_bytes,
        mem_cache_bytes: next.memory_file_bytes,
        disk_used_bytes: next.disk_total_bytes.saturating_sub(next.disk_available_bytes),
        disk_total_bytes: next.disk_total_bytes,
    })
}

/// Share of all CPUs together, 0 to 100, two decimals. Readings of CPU time lag by up to a tick of the kernel, which can
/// add up to a little over the whole; that is the whole.
fn cpu_used_pct(used_usec: u64, elapsed_usec: u64, cpu_count: u32) -> f64 {
    let available = u128::from(elapsed_usec) * u128::from(cpu_count.max(1));
    let hundredths = (u128::from(used_usec) * 10_000 + available / 2) / available.max(1);
    let hundredths = u16::try_from(hundredths).unwrap_or(u16::MAX).min(10_000);
    f64::from(hundredths) / 100.0
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
