//! How deliveries have been going.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sandscope_model::{Attempt, AttemptOutcome, ErrorClass};
use sandscope_telemetry::histogram::Histogram;

/// Attempts to deliver events since the server started; made-up events are not among them.
#[derive(Debug, Default)]
pub struct DeliveryStats {
    n_delivered: AtomicU64,
    failed: [AtomicU64; ErrorClass::ALL.len()],
    took: Histogram,
}

impl DeliveryStats {
    pub(crate) fn count(&self, attempt: &Attempt) {
        self.took.observe(Duration::from_millis(attempt.duration_ms.into()));
        let count = match &attempt.outcome {
            AttemptOutcome::Success | AttemptOutcome::Cut => Some(&self.n_delivered),
            AttemptOutcome::Failed { class, .. } => {
                let mut classes = ErrorClass::ALL.iter().zip(&self.failed);
                classes.find(|(one, _)| *one == class).map(|(_, count)| count)
            }
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Attempts by outcome: `success`, or the class of the error. Every outcome is there, also those that never were.
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let failed = ErrorClass::ALL.into_iter().map(ErrorClass::as_str).zip(&self.failed);
        let all = [("success", &self.n_delivered)].into_iter().chain(failed);
        all.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed))).collect()
    }

    /// How long attempts took, from the first DNS query to the end of the answer.
    pub const fn took(&self) -> &Histogram {
        &self.took
    }
}
