//! One rule's eye on one number that comes again and again. Pure.
//!
//! ```text
//!            over                     over for `for_s`
//!   Quiet ─────────► Pending(since) ───────────────────► Firing ──┐ beyond `clear` for `for_s`: resolved
//!     ▲                 │ under, or a gap                  ▲       ▼
//!     └─────────────────┴──────────────────────────────────┴── Clearing(since)
//! ```
//!
//! Hysteresis keeps an alert quiet that hovers around its threshold: it fires above one value and resolves only below
//! another, and both must last. A gap in the numbers (a pause) proves nothing: whatever was pending starts over, and
//! what fires goes on firing.

use super::AlertRule;
use crate::Timestamp;

/// Seconds between two numbers after which they are not of one stretch.
const GAP_S: i64 = 15;

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertChange {
    /// It fires.
    Firing,
    /// It does not any more.
    Resolved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Quiet,
    Pending(Timestamp),
    Firing,
    Clearing(Timestamp),
}

/// One rule's eye on one sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertWatch {
    phase: Phase,
    seen_at: Option<Timestamp>,
}

impl AlertWatch {
    /// The eye on an alert that is firing already, as after a restart.
    pub fn firing() -> Self {
        Self { phase: Phase::Firing, seen_at: None }
    }

    /// Whether the alert is firing.
    pub const fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing | Phase::Clearing(_))
    }

    /// Takes a number of the past, which fires nothing: what has lasted long enough is left for the next number to
    /// report.
    pub fn look_back(&mut self, rule: &AlertRule, value: f64, at: Timestamp) {
        let before = self.phase;
        if self.see(rule, value, at) == Some(AlertChange::Firing) {
            self.phase = before;
        }
    }

    /// Takes the next number and says what it changed.
    pub fn see(&mut self, rule: &AlertRule, value: f64, at: Timestamp) -> Option<AlertChange> {
        let is_gap = self.seen_at.is_none_or(|seen| {
            let apart = at.as_second().saturating_sub(seen.as_second());
            !(0..=GAP_S).contains(&apart)
        });
        self.seen_at = Some(at);
        if is_gap {
            self.phase = match self.phase {
                Phase::Pending(_) => Phase::Quiet,
                Phase::Clearing(_) => Phase::Firing,
                phase => phase,
            };
        }
        let lasted = |since: Timestamp| {
            at.as_millisecond().saturating_sub(since.as_millisecond()) >= i64::from(rule.for_s) * 1_000
        };
        let (phase, change) = match self.phase {
            Phase::Quiet if rule.is_bad(value) && rule.for_s == 0 => {
                (Phase::Firing, Some(AlertChange::Firing))
            }
            Phase::Quiet if rule.is_bad(value) => (Phase::Pending(at), None),
            Phase::Pending(since) if rule.is_bad(value) && lasted(since) => {
                (Phase::Firing, Some(AlertChange::Firing))
            }
            Phase::Pending(_) if !rule.is_bad(value) => (Phase::Quiet, None),
            Phase::Firing if rule.is_clear(value) && rule.for_s == 0 => {
                (Phase::Quiet, Some(AlertChange::Resolved))
            }
            Phase::Firing if rule.is_clear(value) => (Phase::Clearing(at), None),
            Phase::Clearing(since) if rule.is_clear(value) && lasted(since) => {
                (Phase::Quiet, Some(AlertChange::Resolved))
            }
            Phase::Clearing(_) if !rule.is_clear(value) => (Phase::Firing, None),
            phase => (phase, None),
        };
        self.phase = phase;
        change
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
