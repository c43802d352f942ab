//! Whatever fails and wherever the process is killed: nothing is lost, and a crash repeats no more than a window.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sandscope_model::Exception;

use super::super::*;
use super::{at, backlog, event, settle, take_all, webhook_id};
use crate::attempt::after;
use crate::policy::RetryPolicy;

/// What the store would hold.
#[derive(Debug, Clone, Default)]
struct Rows {
    cursor: u64,
    exceptions: BTreeMap<u64, Exception>,
}

impl Rows {
    fn store(&mut self, progress: Progress) {
        self.cursor = progress.cursor.unwrap_or(self.cursor);
        for exception in progress.set {
            self.exceptions.insert(exception.sequence, exception);
        }
        for sequence in progress.clear {
            self.exceptions.remove(&sequence);
        }
    }

    /// What would be sent after a crash now.
    fn sent_again(&self, log: &[(Arc<Event>, bool)]) -> BTreeSet<u64> {
        let wanted = log.iter().filter(|(_, wanted)| *wanted).map(|(event, _)| event.sequence);
        let owed = |sequence: &u64| match self.exceptions.get(sequence) {
            Some(exception) => exception.next_due_at.is_some(),
            None => *sequence > self.cursor,
        };
        wanted.filter(owed).collect()
    }

    fn backlog(&self, limit: usize, ordering: Ordering) -> Backlog {
        let subject = |sequence: u64| Some(event(sequence, sequence % 7).subject.key());
        let owed = self.exceptions.values().cloned();
        let owed = owed.map(|exception| Owed { subject: subject(exception.sequence), exception });
        Backlog::new(webhook_id(), limit, ordering, self.cursor, owed.collect())
    }
}

/// An event waits for a retry, and those behind it are set aside with it, ahead of the cursor: another sandbox's event
/// takes long. They are delivered, and the process is killed.
#[test]
fn what_was_set_aside_ahead_of_the_cursor_is_not_repeated_beyond_the_window() {
    let policy = RetryPolicy::default();
    let (window, mut now) = (4, at(0));
    let log: Vec<_> = (1..1_000).map(|n| (event(n, n % 7), n % 7 == 1 || n == 2)).collect();
    let (mut backlog, mut rows) = (backlog(window), Rows::default());
    let mut delivered = BTreeSet::new();
    let read = |backlog: &mut Backlog| {
        for (event, wanted) in log.iter().skip(backlog.fetched() as usize) {
            if backlog.room() > 0 {
                backlog.offer(Arc::clone(event), Timestamp::UNIX_EPOCH, *wanted);
            }
        }
    };
    read(&mut backlog);
    let failing_and_slow = take_all(&mut backlog, now);
    assert_eq!(failing_and_slow.iter().map(|job| job.sequence).collect::<Vec<_>>(), [1, 2]);
    settle(&mut backlog, &failing_and_slow[0], Settled::Failed, now, &policy);
    read(&mut backlog);
    backlog.make_room(now);
    now = after(now, Duration::from_secs(10));
    for _ in 0..40 {
        if let Some(progress) = backlog.progress(now, false) {
            rows.store(progress);
            backlog.recorded();
        }
        if let Some(job) = backlog.next(now) {
            settle(&mut backlog, &job, Settled::Delivered, now, &policy);
            delivered.insert(job.sequence);
        }
        let n_repeated = rows.sent_again(&log).intersection(&delivered).count();
        assert!(n_repeated < window, "{n_repeated} and one in flight");
    }
    assert!(delivered.len() > 30, "{delivered:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    /// Ends the n-th attempt in flight.
    End(usize, Settled),
    Store,
    StoreFails,
    Wait(u16),
    Crash,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Start),
        4 => any::<usize>().prop_map(|n| Step::End(n, Settled::Delivered)),
        2 => any::<usize>().prop_map(|n| Step::End(n, Settled::Failed)),
        2 => Just(Step::Store),
        1 => Just(Step::StoreFails),
        2 => (0_u16..12_000).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    /// Whatever fails, however the store hiccups, wherever the process is killed: every wanted event is delivered or
    /// ends exhausted after all its attempts, no unwanted one is sent, and a crash repeats a bounded number.
    #[test]
    fn nothing_owed_is_ever_lost(
        wanted in prop::collection::vec(any::<bool>(), 1..250),
        steps in prop::collection::vec(any_step(), 0..400),
        window in 1_usize..10,
        ordering in prop::sample::select(vec![Ordering::None, Ordering::Sandbox, Ordering::Strict]),
    ) {
        let policy = RetryPolicy { delays: vec![Duration::from_secs(1); 2], ..RetryPolicy::default() };
        let log: Vec<_> = (1..).zip(&wanted).map(|(n, wanted)| (event(n, n % 7), *wanted)).collect();
        let mut rows = Rows::default();
        let mut now = at(0);
        let mut delivered = BTreeMap::<u64, u32>::new();
        let mut failed = BTreeMap::<u64, u32>::new();
        let mut n_crashes = 0;
        // After how many crashes an event was delivered last.
        let mut latest = BTreeMap::<u64, u32>::new();
        let mut settled = BTreeSet::new();

        let mut backlog = rows.backlog(window, ordering);
        let mut in_flight = Vec::new();
        // After the random part, all is well until nothing is left to do.
        let calm = [Step::Start, Step::End(0, Settled::Delivered), Step::Store, Step::Wait(1_000)];
        let n_calm = 4 * 12 * (wanted.len() + 10);
        for step in steps.into_iter().chain(calm.into_iter().cycle().take(n_calm)) {
            for (event, wanted) in log.iter().skip(backlog.fetched() as usize) {
                backlog.make_room(now);
                if backlog.room() == 0 { break }
                backlog.offer(Arc::clone(event), Timestamp::UNIX_EPOCH, *wanted);
            }
            match step {
                Step::Start => if let Some(job) = backlog.next(now) {
                    let lane = job.sequence % 7;
                    let overtakes = |other: &u64| *other < job.sequence && !settled.contains(other) && match ordering {
                        Ordering::None => false,
                        Ordering::Sandbox => other % 7 == lane,
                        Ordering::Strict => true,
                    };
                    let earlier = log.iter().filter(|(_, wanted)| *wanted).map(|(event, _)| event.sequence);
                    prop_assert!(!earlier.clone().any(|other| overtakes(&other)), "{} went too early", job.sequence);
                    in_flight.push(job);
                },
                Step::End(n, how) if !in_flight.is_empty() => {
                    let n = n % in_flight.len();
                    let job: Job = in_flight.swap_remove(n);
                    let counts = if how == Settled::Delivered { &mut delivered } else { &mut failed };
                    if how == Settled::Delivered {
                        latest.insert(job.sequence, n_crashes);
                    }
                    *counts.entry(job.sequence).or_default() += 1;
                    let entropy = sandscope_testbed::SeededEntropy::new(1);
                    let last = backlog.settle(&job, how, |n| policy.next_due_at(n, None, now, &entropy));
                    if last || how == Settled::Delivered {
                        settled.insert(job.sequence);
                    }
                }
                Step::End(..) => {}
                Step::Store => if let Some(progress) = backlog.progress(now, true) {
                    rows.store(progress);
                    backlog.recorded();
                },
                Step::StoreFails => if backlog.progress(now, true).is_some() { backlog.not_recorded() },
                Step::Wait(ms) => now = after(now, Duration::from_millis(ms.into())),
                Step::Crash => {
                    // What is in flight may have been taken, too.
                    let sent_again = rows.sent_again(&log);
                    let lost = latest.iter().filter(|(sequence, life)| {
                        **life == n_crashes && sent_again.contains(*sequence)
                    });
                    prop_assert!(lost.count() + in_flight.len() <= window, "more than the window for a crash");
                    n_crashes += 1;
                    in_flight.clear();
                    backlog = rows.backlog(window, ordering);
                }
            }
            prop_assert!(in_flight.len() <= window);
        }

        prop_assert_eq!(rows.cursor, log.len() as u64);
        for (event, wanted) in &log {
            let n_delivered = delivered.get(&event.sequence).copied().unwrap_or(0);
            let n_failed = failed.get(&event.sequence).copied().unwrap_or(0);
            let exhausted = rows.exceptions.get(&event.sequence).is_some_and(|row| row.next_due_at.is_none());
            if *wanted {
                prop_assert!(n_delivered > 0 || (exhausted && n_failed >= 3), "{} is lost", event.sequence);
            } else {
                prop_assert_eq!((n_delivered, n_failed), (0, 0));
            }
        }
        prop_assert!(rows.exceptions.values().all(|row| row.next_due_at.is_none()));
    }
}
