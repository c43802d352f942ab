use std::time::Duration;

use sandscope_model::Timestamp;

use crate::attempt::after;

/// When a failed delivery is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How long after each failed attempt the next one follows; after as many retries as there are entries the
    /// delivery is exhausted.
    pub delays: Vec<Duration>,
    /// What one attempt may take, from the first DNS query to the last byte of the response's body.
    pub timeout: Duration,
}

impl Default for RetryPolicy {
    /// Three retries, ten seconds apart; ten seconds per attempt.
    fn default() -> Self {
        Self { delays: vec![Duration::from_secs(10); 3], timeout: Duration::from_secs(10) }
    }
}

impl RetryPolicy {
    /// When the next attempt is due after the `n_attempts`-th failed at `now`; `None` once exhausted.
    pub(crate) fn next_due_at(&self, n_attempts: u32, now: Timestamp) -> Option<Timestamp> {
        let failed = usize::try_from(n_attempts).ok()?.checked_sub(1)?;
        self.delays.get(failed).map(|delay| after(now, *delay))
    }
}
