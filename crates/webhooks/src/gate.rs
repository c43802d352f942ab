//! When the next attempt of one webhook may start: window, pace and breaker, as pure bookkeeping.
//!
//! ```text
//!             8 failures in a row                 its time has come
//!   closed ─────────────────────────▶ open ─────────────────────────▶ probing: one attempt
//!     ▲                                 ▲   it failed: twice as long      │
//!     │                                 └─────────────────────────────────┤
//!     └── window of 1, growing with every success ◀──────────────────────┘ it succeeded
//! ```
//!
//! The *window* bounds attempts in flight: it is halved when the receiver shows that it has too much to do and grows
//! by one for every window of successes. The *pace* bounds attempts started per second. The *breaker* keeps attempts
//! back while nothing gets through, whatever is due: what waits costs no attempts, and when the receiver is back it
//! meets one request and then a ramp, never a herd.

use std::time::Duration;

use sandscope_model::{Entropy, Timestamp};

use crate::attempt::after;

/// Failures in a row that open the breaker.
const FAILURES_TO_OPEN: u32 = 8;
/// How long it stays open at first.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// How long it stays open at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Longest wait a receiver may ask for.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);

/// What an attempt says about its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiverState {
    /// It took the event.
    Well,
    /// It has too much to do, or is not there: timeouts, 429, 502, 503, 504.
    Overloaded,
    /// It does not work: no connection, no HTTP, any other 5xx.
    Broken,
    /// It works and does not want this: any other status.
    Unwilling,
    /// Nothing: the attempt was not made, or canceled by us.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    Closed { n_failures: u32 },
    Open { until: Timestamp, pause: Duration },
    Probing { pause: Duration },
}

/// Decides when attempts may start.
pub(crate) struct Gate {
    max: usize,
    window: usize,
    /// Successes since the window last changed.
    n_successes: usize,
    /// The window that was too wide, under which it grows quickly again.
    ramp_to: usize,
    breaker: Breaker,
    rate: Option<u32>,
    /// When the next attempt would start if all went out evenly.
    paced_to: Timestamp,
    /// Until when the receiver asked to be left alone.
    held_until: Timestamp,
}

impl Gate {
    /// A gate with a window of `max`, and `rate` attempts per second at most. If the webhook `was_failing` when the
    /// server stopped, it starts with a probe.
    pub(crate) fn new(max: usize, rate: Option<u32>, was_failing: bool) -> Self {
        let max = max.max(1);
        let (until, pause) = (Timestamp::MIN, FIRST_PAUSE);
        let breaker =
            if was_failing { Breaker::Open { until, pause } } else { Breaker::Closed { n_failures: 0 } };
        Self {
            max,
            window: max,
            n_successes: 0,
            ramp_to: max,
            breaker,
            rate,
            paced_to: Timestamp::MIN,
            held_until: Timestamp::MIN,
        }
    }

    /// Follows changed settings.
    pub(crate) fn configure(&mut self, max: usize, rate: Option<u32>) {
        if max.max(1) != self.max {
            self.max = max.max(1);
            self.window = self.window.min(self.max);
            self.ramp_to = self.max;
        }
        self.rate = rate;
    }

    /// The window as it is now.
    #[cfg(test)]
    const fn window(&self) -> usize {
        self.window
    }

    /// Whether attempts are kept back because nothing gets through.
    pub(crate) const fn is_open(&self) -> bool {
        !matches!(self.breaker, Breaker::Closed { .. })
    }

    /// Whether another attempt may start beside `n_in_flight`.
    pub(crate) fn admits(&self, now: Timestamp, n_in_flight: usize) -> bool {
        let breaker = match self.breaker {
            Breaker::Closed { .. } => n_in_flight < self.window,
            Breaker::Open { until, .. } => n_in_flight == 0 && until <= now,
            Breaker::Probing { .. } => false,
        };
        breaker && self.held_until <= now && self.paced_at() <= now
    }

    /// When it may admit again without anything having ended; `None`: nothing but the end of an attempt changes that.
    pub(crate) fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let breaker = match self.breaker {
            Breaker::Closed { .. } => Timestamp::MIN,
            Breaker::Open { until, .. } => until,
            Breaker::Probing { .. } => return None,
        };
        let at = breaker.max(self.held_until).max(self.paced_at());
        (at > now).then_some(at)
    }

    /// Bursts of up to a second's worth are allowed.
    fn paced_at(&self) -> Timestamp {
        if self.rate.is_none() {
            return Timestamp::MIN;
        }
        self.paced_to.checked_sub(Duration::from_secs(1)).unwrap_or(Timestamp::MIN)
    }

    /// An attempt starts.
    pub(crate) fn started(&mut self, now: Timestamp) {
        if let Breaker::Open { pause, .. } = self.breaker {
            self.breaker = Breaker::Probing { pause };
        }
        if let Some(rate) = self.rate {
            let interval = Duration::from_secs(1) / rate.max(1);
            self.paced_to = after(self.paced_to.max(now), interval);
        }
    }

    /// An attempt ended. `hold` is how long the receiver asked to wait.
    pub(crate) fn ended(
        &mut self,
        receiver: ReceiverState,
        hold: Option<Duration>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        if let Some(hold) = hold {
            self.held_until = self.held_until.max(after(now, hold.min(LONGEST_HOLD)));
        }
        match receiver {
            ReceiverState::Well | ReceiverState::Unwilling => {
                self.got_through(receiver == ReceiverState::Well);
            }
            ReceiverState::Overloaded => {
                self.ramp_to = (self.window / 2).max(1);
                self.window = self.ramp_to;
                self.n_successes = 0;
                self.failed(now, entropy);
            }
            ReceiverState::Broken => self.failed(now, entropy),
            ReceiverState::Nothing => {
                if let Breaker::Probing { pause } = self.breaker {
                    self.breaker = Breaker::Open { until: now, pause };
                }
            }
        }
    }

    fn got_through(&mut self, well: bool) {
        match self.breaker {
            Breaker::Probing { .. } => {
                self.window = 1;
                self.ramp_to = self.max;
                self.n_successes = 0;
                self.breaker = Breaker::Closed { n_failures: 0 };
            }
            Breaker::Closed { .. } => {
                self.breaker = Breaker::Closed { n_failures: 0 };
                self.n_successes += usize::from(well);
                let enough = if self.window < self.ramp_to { 1 } else { self.window };
                if self.n_successes >= enough && self.window < self.max {
                    self.window += 1;
                    self.n_successes = 0;
                }
            }
            // One that had started before it opened.
            Breaker::Open { .. } => {}
        }
    }

    fn failed(&mut self, now: Timestamp, entropy: &dyn Entropy) {
        match self.breaker {
            Breaker::Closed { n_failures } if n_failures + 1 >= FAILURES_TO_OPEN => {
                self.open(FIRST_PAUSE, now, entropy);
            }
            Breaker::Closed { n_failures } => self.breaker = Breaker::Closed { n_failures: n_failures + 1 },
            Breaker::Probing { pause } => self.open((pause * 2).min(LONGEST_PAUSE), now, entropy),
            Breaker::Open { .. } => {}
        }
    }

    fn open(&mut self, pause: Duration, now: Timestamp, entropy: &dyn Entropy) {
        self.breaker = Breaker::Open { until: after(now, jittered(pause, entropy)), pause };
    }
}

/// `duration`, or up to a tenth longer, so that what failed together does not come back together.
pub(crate) fn jittered(duration: Duration, entropy: &dyn Entropy) -> Duration {
    let mut bytes = [0; 2];
    entropy.fill(&mut bytes);
    duration + duration.mul_f64(f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX) / 10.0)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
