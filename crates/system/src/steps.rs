//! Notices that somebody has set the wall clock. Nothing depends on it: it is for who reads the log and wonders about
//! times in it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use sandscope_model::{Clock, Stamp};
use sandscope_tasks::{Phase, Task, Tasks};

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(1);
/// A shorter step is one of many that keep a clock in time.
const LEAST: Duration = Duration::from_millis(100);

/// Logs each step of the wall clock, until `tasks` are drained.
pub fn report_clock_steps(clock: Arc<dyn Clock>, tasks: &Tasks) {
    let stop = tasks.stopping(Phase::Observe);
    tasks.start(Task::restart("clock-steps", Phase::Observe), move || {
        let (clock, stop) = (Arc::clone(&clock), stop.clone());
        async move {
            let mut steps = Steps { last: clock.stamp() };
            while stop.run_until_cancelled(clock.sleep(EVERY)).await.is_some() {
                if let Some(step) = steps.look(clock.stamp()) {
                    tracing::warn!(
                        step_ms = step.as_millis(),
                        "the wall clock was set; periods, timeouts and durations are not affected, times are shown by it from now on"
                    );
                }
            }
        }
    });
}

struct Steps {
    last: Stamp,
}

impl Steps {
    /// By how much the wall clock was set since the last look, if it was. A suspended host sets nothing.
    fn look(&mut self, now: Stamp) -> Option<SignedDuration> {
        let step = now.step_since(self.last.at, self.last.uptime).filter(|step| step.unsigned_abs() >= LEAST);
        // Smaller ones add up: they are compared with the same moment again.
        if step.is_some() {
            self.last = now;
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use sandscope_testbed::StepClock;

    use super::*;

    #[test]
    fn each_step_shows_once_and_time_that_passes_does_not() {
        let clock = StepClock::new();
        let mut steps = Steps { last: clock.stamp() };
        for step in [-3_600_000, 7_200_000, -600_000, 150] {
            let step = SignedDuration::from_millis(step);
            for passed in [1, 3_600] {
                clock.advance(Duration::from_secs(passed));
                assert_eq!(steps.look(clock.stamp()), None);
            }
            clock.step_wall(step);
            clock.advance(Duration::from_secs(1));
            assert_eq!(steps.look(clock.stamp()), Some(step));
            assert_eq!(steps.look(clock.stamp()), None);
        }
    }
}
