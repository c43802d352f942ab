//! How long samples are kept: from the settings to what the store asks for.

use std::time::Duration;

use sandscope_config::Metrics;
use sandscope_store::SampleRetention;

/// What `metrics` means for the store.
pub(crate) fn of(metrics: &Metrics) -> SampleRetention {
    const DAY_S: u64 = 24 * 3600;
    let days = |n: u32| Duration::from_secs(u64::from(n) * DAY_S);
    SampleRetention {
        samples: days(metrics.retention_days),
        spans: days(metrics.rollup_days),
        max_bytes: (metrics.max_mb > 0).then_some(u64::from(metrics.max_mb) << 20),
    }
}
