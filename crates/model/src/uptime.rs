//! Time since the host booted, and what it says of times the wall clock gave.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Time since the host booted, in whole microseconds, the time included in which it was suspended. It never goes back,
/// and setting the wall clock does not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uptime(u64);

impl Uptime {
    /// The moment of the boot.
    pub const ZERO: Self = Self(0);

    /// So long after the boot.
    pub fn new(since_boot: Duration) -> Self {
        Self(u64::try_from(since_boot.as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(Self::new(duration).0))
    }

    /// The time that has passed since `earlier`; none, if that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// One boot of a host: [`Uptime`]s of two boots cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(Uuid);

impl From<Uuid> for BootId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

/// A moment, in both times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// By the wall clock.
    pub at: Timestamp,
    /// Of which boot `uptime` is.
    pub boot: BootId,
    /// Since the boot.
    pub uptime: Uptime,
}

impl Stamp {
    /// What the wall clock, as it is set now, shows at `uptime`.
    pub fn label(&self, uptime: Uptime) -> Timestamp {
        let label = if uptime >= self.uptime {
            self.at.checked_add(uptime.since(self.uptime))
        } else {
            self.at.checked_sub(self.uptime.since(uptime))
        };
        label.unwrap_or(if uptime >= self.uptime { Timestamp::MAX } else { Timestamp::MIN })
    }

    /// When the wall clock, as it is set now, shows `label`; what was before the boot counts as the boot.
    pub fn uptime_of(&self, label: Timestamp) -> Uptime {
        let ahead = label.duration_since(self.at);
        let apart = ahead.unsigned_abs();
        if ahead.is_negative() {
            Uptime(self.uptime.0.saturating_sub(Uptime::new(apart).0))
        } else {
            self.uptime.after(apart)
        }
    }

    /// By how much `label`, given for `uptime`, is off the wall clock as it is set now, in whole hundredths of a second:
    /// the wall clock was set since, by this. `None`: it was not.
    pub fn step_since(&self, label: Timestamp, uptime: Uptime) -> Option<SignedDuration> {
        let step = self.label(uptime).duration_since(label);
        let n_steps = (step.as_millis() + if step.is_negative() { -5 } else { 5 }) / 10;
        let millis = i64::try_from(n_steps * 10).unwrap_or(i64::MAX);
        (millis != 0).then(|| SignedDuration::from_millis(millis))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(at_usec: i64, uptime_usec: u64) -> Stamp {
        let at = Timestamp::from_microsecond(at_usec).unwrap();
        Stamp { at, boot: BootId::from(Uuid::nil()), uptime: Uptime(uptime_usec) }
    }

    #[test]
    fn a_step_shows_and_the_readings_own_difference_does_not() {
        let (then, later) = (stamp(1_000_000_000, 500_000_000), stamp(1_060_000_009, 560_000_000));
        assert_eq!(later.step_since(then.at, then.uptime), None);
        let set_back = stamp(1_060_000_000 - 3_600_000_000, 560_000_000);
        assert_eq!(set_back.step_since(then.at, then.uptime), Some(SignedDuration::from_hours(-1)));
        let set_forward = stamp(1_060_000_000 + 7_200_000_000, 560_000_000);
        assert_eq!(set_forward.step_since(then.at, then.uptime), Some(SignedDuration::from_hours(2)));
    }

    proptest! {
        #[test]
        fn a_label_leads_back_to_its_moment(
            at in 0_i64..4_000_000_000_000_000,
            uptime in 0_u64..1_000_000_000_000_000,
            other in 0_u64..1_000_000_000_000_000,
        ) {
            let stamp = stamp(at, uptime);
            prop_assert_eq!(stamp.uptime_of(stamp.label(Uptime(other))), Uptime(other));
            prop_assert_eq!(stamp.label(stamp.uptime), stamp.at);
        }

        #[test]
        fn no_reading_overflows(at in any::<i64>(), uptime in any::<u64>(), other in any::<u64>()) {
            let at = Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX);
            let stamp = Stamp { at, ..stamp(0, uptime) };
            let label = stamp.label(Uptime(other));
            let _ = (stamp.uptime_of(label), stamp.step_since(at, Uptime(other)));
            prop_assert_eq!(Uptime(uptime).after(Uptime(other).since(Uptime::ZERO)).0, uptime.saturating_add(other));
        }
    }
}
