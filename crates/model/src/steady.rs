use std::sync::Arc;

use jiff::SignedDuration;

use crate::{Clock, Sleep, Stamp, Timestamp, Uptime};

/// A time line that begins at the wall clock's time and cannot be set: for rooms whose times are all ahead or all
/// differences, and which keep them as [`Timestamp`]s. What is shown to people comes from [`label`](Self::label).
#[derive(Debug, Clone)]
pub struct Steady {
    clock: Arc<dyn Clock>,
    begun: Stamp,
}

impl Steady {
    /// A line that begins now.
    pub fn begin(clock: Arc<dyn Clock>) -> Self {
        Self { begun: clock.stamp(), clock }
    }

    /// Now, on this line.
    pub fn now(&self) -> Timestamp {
        self.begun.label(self.clock.uptime())
    }

    /// The moment of this line at which the host had been up for so long.
    pub fn at(&self, uptime: Uptime) -> Timestamp {
        self.begun.label(uptime)
    }

    /// When what the wall clock labelled `label` happened, on this line: no later than now. Of what happened before the
    /// clock was set this is off by that.
    pub fn past(&self, label: Timestamp) -> Timestamp {
        self.of_label(label).min(self.now())
    }

    /// The clock behind it.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Completes once [`now`](Self::now) is at or past `at`.
    pub fn sleep_until(&self, at: Timestamp) -> Sleep {
        self.clock.sleep_until(self.begun.uptime_of(at))
    }

    /// What the wall clock, as it is set now, shows at `at` of this line.
    pub fn label(&self, at: Timestamp) -> Timestamp {
        let stamp = self.clock.stamp();
        moved(at, stamp.step_since(self.now_of(stamp), stamp.uptime))
    }

    /// Where on this line the wall clock, as it is set now, shows `label`.
    pub fn of_label(&self, label: Timestamp) -> Timestamp {
        let stamp = self.clock.stamp();
        moved(label, stamp.step_since(self.now_of(stamp), stamp.uptime).map(|step| -step))
    }

    fn now_of(&self, stamp: Stamp) -> Timestamp {
        self.begun.label(stamp.uptime)
    }
}

fn moved(at: Timestamp, by: Option<SignedDuration>) -> Timestamp {
    let Some(by) = by else { return at };
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}
