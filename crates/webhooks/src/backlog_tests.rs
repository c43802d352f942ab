#[path = "backlog_loss_tests.rs"]
mod loss;

use std::time::Duration;

use sandscope_model::{EventDraft, EventType, Exception, SandboxRef};
use sandscope_store::ReplayStep;

use super::*;
use crate::attempt::after;
use crate::policy::RetryPolicy;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn webhook_id() -> WebhookId {
    uuid::Uuid::from_u128(9).into()
}

fn event(sequence: u64, sandbox: u64) -> Arc<Event> {
    let id = |n: u64| uuid::Uuid::from_u128(u128::from(n));
    let sandbox = SandboxRef {
        id: format!("i{sandbox:020}").parse().unwrap(),
        execution_id: id(1).into(),
        template_id: "00000000000000000000".parse().unwrap(),
        build_id: id(2).into(),
        metadata: [].into(),
    };
    let ids = (id(sequence).into(), id(3).into());
    let draft = EventDraft::example(EventType::Updated, ids, sandbox, at(0));
    Arc::new(Event { sequence, draft })
}

fn backlog(limit: usize) -> Backlog {
    Backlog::new(webhook_id(), limit, Ordering::Sandbox, 0, Vec::new())
}

/// Ends a job; the next attempt is due when the policy says.
fn settle(backlog: &mut Backlog, job: &Job, settled: Settled, now: Timestamp, policy: &RetryPolicy) {
    let entropy = sandscope_testbed::SeededEntropy::new(1);
    backlog.settle(job, settled, |n_attempts| policy.next_due_at(n_attempts, None, now, &entropy));
}

fn exception(sequence: u64, n_attempts: u32, next_due_at: Option<Timestamp>) -> Exception {
    Exception {
        webhook_id: webhook_id(),
        sequence,
        n_attempts,
        next_due_at,
        replay_no: None,
        was_exhausted: false,
    }
}

fn take_all(backlog: &mut Backlog, now: Timestamp) -> Vec<Job> {
    std::iter::from_fn(|| backlog.next(now)).collect()
}

#[test]
fn the_cursor_waits_for_the_oldest_and_passes_what_is_not_wanted() {
    let policy = RetryPolicy::default();
    let mut backlog = backlog(8);
    for sequence in 1..=4 {
        backlog.offer(event(sequence, sequence), Timestamp::UNIX_EPOCH, sequence != 2);
    }
    let jobs = take_all(&mut backlog, at(0));
    assert_eq!(jobs.iter().map(|job| job.sequence).collect::<Vec<_>>(), [1, 3, 4]);
    settle(&mut backlog, &jobs[1], Settled::Delivered, at(1), &policy);
    assert_eq!(backlog.progress(at(1), false), None, "1 is not settled");
    settle(&mut backlog, &jobs[0], Settled::Delivered, at(2), &policy);
    let progress = backlog.progress(at(2), false).unwrap();
    assert_eq!(progress, Progress { cursor: Some(3), ..Progress::default() });
}

#[test]
fn a_failure_is_set_aside_retried_as_the_policy_says_and_then_exhausted() {
    let policy = RetryPolicy::default();
    let mut backlog = backlog(8);
    backlog.offer(event(1, 1), Timestamp::UNIX_EPOCH, true);
    let mut now = at(0);
    for n_attempts in 1..=4 {
        let [job] = take_all(&mut backlog, now).try_into().unwrap();
        assert_eq!(job.event.is_some(), n_attempts == 1);
        settle(&mut backlog, &job, Settled::Failed, now, &policy);
        let due = (n_attempts < 4).then(|| after(now, Duration::from_secs(10)));
        let progress = backlog.progress(now, false).unwrap();
        let exception = exception(1, n_attempts, due);
        assert_eq!(progress.set, [exception]);
        assert_eq!(progress.cursor, (n_attempts == 1).then_some(1));
        backlog.recorded();
        assert_eq!(backlog.next_due_at(), due);
        assert!(backlog.next(after(now, Duration::from_millis(9_999))).is_none());
        now = due.unwrap_or(now);
    }
    assert!(backlog.next(Timestamp::MAX).is_none());
}

#[test]
fn the_log_is_read_for_many_events_or_when_the_window_would_stay_empty() {
    let policy = RetryPolicy::default();
    let mut backlog = backlog(2);
    assert!(backlog.wants_to_read());
    for sequence in 1..=40 {
        backlog.offer(event(sequence, sequence), Timestamp::UNIX_EPOCH, true);
    }
    assert!(!backlog.wants_to_read(), "room for 24, and enough at hand");
    let mut jobs = take_all(&mut backlog, at(0));
    assert_eq!(jobs.len(), 2);
    assert!(!backlog.wants_to_read(), "the window is full");
    for sequence in 3..=10 {
        for job in jobs {
            settle(&mut backlog, &job, Settled::Delivered, at(0), &policy);
        }
        backlog.progress(at(0), false).unwrap();
        backlog.recorded();
        assert_eq!(backlog.wants_to_read(), backlog.room() >= 32, "{sequence}");
        jobs = take_all(&mut backlog, at(0));
    }
}

#[test]
fn the_log_is_read_past_many_events_of_one_sandbox() {
    let mut backlog = backlog(2);
    for sequence in 1..=40 {
        backlog.offer(event(sequence, 1), Timestamp::UNIX_EPOCH, true);
    }
    assert!(backlog.wants_to_read(), "one of two could start");
    assert_eq!(take_all(&mut backlog, at(0)).len(), 1);
    assert!(backlog.wants_to_read(), "none of one could start");
    backlog.offer(event(41, 2), Timestamp::UNIX_EPOCH, true);
    assert!(!backlog.wants_to_read());
}

#[test]
fn events_of_a_sandbox_go_out_one_after_the_other() {
    let policy = RetryPolicy::default();
    let mut backlog = backlog(8);
    for (sequence, sandbox) in [(1, 1), (2, 1), (3, 2)] {
        backlog.offer(event(sequence, sandbox), Timestamp::UNIX_EPOCH, true);
    }
    let jobs = take_all(&mut backlog, at(0));
    assert_eq!(jobs.iter().map(|job| job.sequence).collect::<Vec<_>>(), [1, 3]);
    settle(&mut backlog, &jobs[0], Settled::Delivered, at(0), &policy);
    assert_eq!(backlog.next(at(0)).unwrap().sequence, 2);
}

#[test]
fn one_slow_event_does_not_hold_up_the_cursor() {
    let policy = RetryPolicy::default();
    let mut backlog = backlog(8);
    for sequence in 1..=64 {
        backlog.offer(event(sequence, sequence), Timestamp::UNIX_EPOCH, true);
    }
    let slow = backlog.next(at(0)).unwrap();
    let mut n_delivered = 0;
    let mut stored = 0;
    while let Some(job) = backlog.next(at(0)) {
        settle(&mut backlog, &job, Settled::Delivered, at(0), &policy);
        n_delivered += 1;
        if let Some(progress) = backlog.progress(at(5), false) {
            stored = progress.cursor.unwrap_or(stored);
            backlog.recorded();
        }
    }
    assert_eq!((n_delivered, stored), (63, 64));
    settle(&mut backlog, &slow, Settled::Delivered, at(9), &policy);
    assert_eq!(backlog.progress(at(9), false).unwrap().clear, [1]);
}

#[test]
fn what_waits_for_a_slow_event_of_its_sandbox_holds_up_nobody_else() {
    let policy = RetryPolicy::default();
    let mut backlog = backlog(8);
    backlog.offer(event(1, 1), Timestamp::UNIX_EPOCH, true);
    backlog.offer(event(2, 1), Timestamp::UNIX_EPOCH, true);
    let first = backlog.next(at(0)).unwrap();
    let mut n_delivered = 0;
    for sequence in 3..=200 {
        backlog.offer(event(sequence, sequence), Timestamp::UNIX_EPOCH, true);
        if let Some(job) = backlog.next(at(0)) {
            assert_ne!(job.sequence, 2, "the first of its sandbox is in flight");
            settle(&mut backlog, &job, Settled::Delivered, at(0), &policy);
            n_delivered += 1;
        }
        if backlog.progress(at(0), false).is_some() {
            backlog.recorded();
        }
    }
    assert_eq!(n_delivered, 198);
    settle(&mut backlog, &first, Settled::Delivered, at(0), &policy);
    assert_eq!(backlog.next(at(0)).map(|job| job.sequence), Some(2));
}

#[test]
fn an_event_waits_until_the_earlier_of_its_sandbox_arrived_or_was_given_up() {
    let policy = RetryPolicy { delays: vec![Duration::from_secs(5)], ..RetryPolicy::default() };
    for (ordering, free) in
        [(Ordering::None, vec![2, 3]), (Ordering::Sandbox, vec![3]), (Ordering::Strict, vec![])]
    {
        let mut backlog = Backlog::new(webhook_id(), 8, ordering, 0, Vec::new());
        for (sequence, sandbox) in [(1, 1), (2, 1), (3, 2)] {
            backlog.offer(event(sequence, sandbox), Timestamp::UNIX_EPOCH, true);
        }
        let first = backlog.next(at(0)).unwrap();
        settle(&mut backlog, &first, Settled::Failed, at(0), &policy);
        let others = take_all(&mut backlog, at(0));
        assert_eq!(others.iter().map(|job| job.sequence).collect::<Vec<_>>(), free, "{ordering:?}");
        for job in &others {
            settle(&mut backlog, job, Settled::Delivered, at(0), &policy);
        }
        let again = backlog.next(at(5_000)).unwrap();
        assert_eq!(again.sequence, 1);
        settle(&mut backlog, &again, Settled::Failed, at(5_000), &policy);
        let rest: Vec<u64> = std::iter::from_fn(|| {
            let job = backlog.next(at(5_000))?;
            settle(&mut backlog, &job, Settled::Delivered, at(5_000), &policy);
            Some(job.sequence)
        })
        .collect();
        let owed: Vec<u64> = [2, 3].into_iter().filter(|sequence| !free.contains(sequence)).collect();
        assert_eq!(rest, owed, "{ordering:?}");
    }
}

#[test]
fn a_sandbox_whose_event_fails_for_long_leaves_room_for_others() {
    let policy = RetryPolicy { delays: vec![Duration::from_secs(3_600); 9], ..RetryPolicy::default() };
    let mut backlog = backlog(8);
    for sequence in 1..=MAX_OPEN as u64 {
        backlog.offer(event(sequence, 1), Timestamp::UNIX_EPOCH, true);
    }
    let first = backlog.next(at(0)).unwrap();
    settle(&mut backlog, &first, Settled::Failed, at(0), &policy);
    backlog.offer(event(100, 1), Timestamp::UNIX_EPOCH, true);
    assert!(backlog.next(at(0)).is_none());
    backlog.make_room(at(0));
    assert!(backlog.progress(at(0), false).is_some());
    backlog.recorded();
    assert!(backlog.room() > 0);
    backlog.offer(event(101, 2), Timestamp::UNIX_EPOCH, true);
    assert_eq!(backlog.next(at(0)).map(|job| job.sequence), Some(101));
}

#[test]
fn a_replay_sends_what_it_selects_once_and_counts_it() {
    let policy = RetryPolicy { delays: Vec::new(), ..RetryPolicy::default() };
    let mut backlog = Backlog::new(webhook_id(), 8, Ordering::Sandbox, 10, Vec::new());
    let selection = (1..=4).map(|n| (event(n, n), n == 4)).collect();
    backlog.replay(7, selection, 5, at(0));
    let jobs = take_all(&mut backlog, at(0));
    assert_eq!(jobs.iter().map(|job| job.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for (job, settled) in
        jobs.iter().zip([Settled::Delivered, Settled::Delivered, Settled::Failed, Settled::Dropped])
    {
        settle(&mut backlog, job, settled, at(1), &policy);
    }
    let progress = backlog.progress(at(1), false).unwrap();
    assert_eq!(progress.clear, [1, 2, 4]);
    assert_eq!(progress.set, [exception(3, 1, None)]);
    let step = ReplayStep {
        no: 7,
        at: at(1),
        next: Some(5),
        n_selected: 4,
        n_delivered: 2,
        n_failed: 1,
        n_dropped: 1,
    };
    assert_eq!(progress.replays, [step]);
    backlog.not_recorded();
    assert_eq!(
        backlog.progress(at(1), false).unwrap().replays,
        [step],
        "handed out again where it was not stored"
    );
}

#[test]
fn a_canceled_replay_leaves_everything_as_it_was() {
    let mut backlog = Backlog::new(webhook_id(), 1, Ordering::Sandbox, 10, Vec::new());
    backlog.replay(7, vec![(event(1, 1), true), (event(2, 2), false), (event(3, 3), true)], 4, at(0));
    let job = backlog.next(at(0)).unwrap();
    backlog.progress(at(0), false).unwrap();
    backlog.recorded();
    backlog.cancel_replay(7);
    let progress = backlog.progress(at(0), false).unwrap();
    assert_eq!((progress.clear, progress.set), (vec![2], vec![exception(3, 0, None)]));
    assert_eq!(progress.replays[0].n_dropped, 2);
    backlog.recorded();
    settle(&mut backlog, &job, Settled::Delivered, at(1), &RetryPolicy::default());
    assert_eq!(backlog.progress(at(1), false).unwrap().replays[0].n_delivered, 1);
    assert!(backlog.next(Timestamp::MAX).is_none());
}

#[test]
fn a_dead_receiver_bounds_what_is_kept_in_memory_and_the_log_keeps_the_rest() {
    let policy = RetryPolicy::default();
    let mut backlog = backlog(8);
    let mut offered = 0;
    while backlog.room() > 0 {
        offered += 1;
        backlog.offer(event(offered, offered), Timestamp::UNIX_EPOCH, true);
        if let Some(job) = backlog.next(at(0)) {
            settle(&mut backlog, &job, Settled::Failed, at(0), &policy);
        }
        if backlog.progress(at(0), false).is_some() {
            backlog.recorded();
        }
    }
    assert!(offered <= (MAX_PENDING + MAX_OPEN) as u64, "{offered}");
}
