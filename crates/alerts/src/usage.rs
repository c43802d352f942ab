//! What a team has used, by hour: each execution that ends is read once.

use std::collections::BTreeMap;

use sandscope_model::ledger::{Usage, Window};
use sandscope_model::{ExecutionSummary, Stamp, TeamId, Timestamp};
use sandscope_store::{EventLog, OpenExecution, StoreError};

const HOUR_MS: i64 = 3_600_000;
/// Executions read at once.
const BATCH: u32 = 1_000;

#[derive(Debug, Default)]
pub(crate) struct UsageMeter {
    /// The first hour that is known; none yet: nothing is.
    since: Option<i64>,
    /// Up to which event of the log executions that ended are in `hours`.
    position: u64,
    hours: BTreeMap<i64, Usage>,
}

/// The hour in which a window of so many seconds begins.
fn first_hour(within_s: u32, now: Timestamp) -> i64 {
    (now.as_millisecond() - i64::from(within_s) * 1_000).div_euclid(HOUR_MS)
}

impl UsageMeter {
    /// Reads what has ended since the last time; answers what runs.
    pub(crate) async fn read(
        &mut self,
        events: &EventLog,
        team: TeamId,
        longest_s: u32,
        now: Timestamp,
    ) -> Result<Vec<OpenExecution>, StoreError> {
        let first = first_hour(longest_s, now);
        if self.since.is_none_or(|since| first < since) {
            *self = Self { since: Some(first), ..Self::default() };
        }
        let since = self.since.unwrap_or(first);
        let start = Timestamp::from_millisecond(since * HOUR_MS).unwrap_or(Timestamp::UNIX_EPOCH);
        let moment = events.ledger_moment(team).await?;
        while self.position < moment.last {
            let part = events.ended_executions(team, start, self.position, moment.last, BATCH).await?;
            part.executions.iter().for_each(|ended| self.add(&ended.summary, since));
            self.position = part.next.unwrap_or(moment.last);
        }
        self.hours = self.hours.split_off(&first);
        Ok(moment.open)
    }

    fn add(&mut self, ended: &ExecutionSummary, since: i64) {
        let start_ms = ended.started_at.as_millisecond();
        let length = i64::try_from(ended.execution_time_ms).unwrap_or(i64::MAX);
        let last_ms = start_ms.saturating_add(length).saturating_sub(1);
        let (first, last) = (start_ms.div_euclid(HOUR_MS).max(since), last_ms.div_euclid(HOUR_MS));
        for hour in first..=last {
            let window = Window { start_ms: hour * HOUR_MS, end_ms: (hour + 1) * HOUR_MS };
            self.hours.entry(hour).or_default().add_ended(ended, window);
        }
    }

    /// What was used in so many seconds up to `now`, the hour in which they begin from its beginning.
    pub(crate) fn sum(&self, open: &[OpenExecution], within_s: u32, now: Stamp) -> Usage {
        let first = first_hour(within_s, now.at);
        let mut sum = Usage::default();
        self.hours.range(first..).for_each(|(_, usage)| sum.merge(usage));
        let window = Window { start_ms: first * HOUR_MS, end_ms: now.at.as_millisecond() };
        open.iter().for_each(|open| sum.add_open(&open.execution, window, now));
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandscope_model::Clock as _;
    use sandscope_testbed::StepClock;

    use super::*;

    fn ended(start_ms: i64, ms: u64) -> ExecutionSummary {
        ExecutionSummary {
            started_at: Timestamp::from_millisecond(start_ms).unwrap(),
            vcpu_count: 2,
            memory_mb: 512,
            execution_time_ms: ms,
        }
    }

    proptest! {
        #[test]
        fn hours_add_up_to_the_window(
            executions in proptest::collection::vec((0_i64..40 * HOUR_MS, 0_u64..10 * 3_600_000), 0..40),
            within_s in 1_u32..100_000,
        ) {
            let now = Timestamp::from_millisecond(50 * HOUR_MS + 1_234).unwrap();
            let first = first_hour(within_s, now);
            let (mut meter, mut whole) = (UsageMeter::default(), Usage::default());
            let window = Window { start_ms: first * HOUR_MS, end_ms: i64::MAX };
            for (start, ms) in executions {
                meter.add(&ended(start, ms), 0);
                whole.add_ended(&ended(start, ms), window);
            }
            let sum = meter.sum(&[], within_s, StepClock::at(now).stamp());
            prop_assert_eq!((sum.vcpu_ms, sum.mib_ms), (whole.vcpu_ms, whole.mib_ms));
        }
    }
}
