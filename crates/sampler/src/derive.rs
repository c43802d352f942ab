use sandscope_model::{Counters, MetricField as F, MetricKind, Sample, SandboxId, TeamId, Timestamp, Values};

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
/// Differences saturate: a counter that restarted reads as nothing used, never as an absurd amount. A field that only
/// one of the readings has, and is stored as a difference, has no value.
pub fn derive(prev: &Counters, next: &Counters, subject: &Subject, at: Timestamp) -> Option<Sample> {
    let elapsed_usec = next.taken_at_usec.checked_sub(prev.taken_at_usec).filter(|usec| *usec > 0)?;
    let used_usec = next.cpu_usage_usec.saturating_sub(prev.cpu_usage_usec);
    let mut values = Values::NONE
        .with(F::CpuUsed, cpu_used_centi_pct(used_usec, elapsed_usec, subject.cpu_count))
        .with(F::CpuCount, u64::from(subject.cpu_count))
        .with(F::MemUsed, next.memory_current_bytes.saturating_sub(next.memory_reclaimable_bytes))
        .with(F::MemTotal, subject.memory_bytes)
        .with(F::MemCache, next.memory_file_bytes)
        .with(F::DiskUsed, next.disk_total_bytes.saturating_sub(next.disk_available_bytes))
        .with(F::DiskTotal, next.disk_total_bytes)
        .with(F::Interval, next.taken_at_usec / 1_000 - prev.taken_at_usec / 1_000)
        .with(F::Processes, next.n_pids)
        .with(F::OomKills, next.n_oom_kills);
    for (field, now) in next.more.iter() {
        let value = match field.kind() {
            MetricKind::Difference => prev.more.get(field).map(|before| now.saturating_sub(before)),
            MetricKind::Gauge | MetricKind::Total | MetricKind::Limit => Some(now),
        };
        values.set(field, value);
    }
    Some(Sample { sandbox_id: subject.sandbox_id.clone(), at, values })
}

/// Share of all CPUs together, 0 to 10,000 hundredths of a percent. Readings of CPU time lag by up to a tick of the kernel, which can
/// add up to a little over the whole; that is the whole.
fn cpu_used_centi_pct(used_usec: u64, elapsed_usec: u64, cpu_count: u32) -> u64 {
    let available = u128::from(elapsed_usec) * u128::from(cpu_count.max(1));
    let hundredths = (u128::from(used_usec) * 10_000 + available / 2) / available.max(1);
    u64::try_from(hundredths).unwrap_or(u64::MAX).min(10_000)
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
