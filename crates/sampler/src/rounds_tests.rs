use jiff::SignedDuration;
use sandscope_model::{BootId, Values};

use super::*;

/// So long after a moment at which the wall clock shows a whole multiple of everything.
fn at(seconds: i64, ms: i64) -> Stamp {
    let since = seconds * 1_000 + ms;
    Stamp {
        at: Timestamp::from_millisecond(1_700_000_000_000 + since).unwrap(),
        boot: BootId::from(uuid::Uuid::nil()),
        uptime: Uptime::new(Duration::from_millis(u64::try_from(1_234 + since).unwrap())),
    }
}

/// The same moment on a host whose wall clock was set.
fn stepped(now: Stamp, by: SignedDuration) -> Stamp {
    Stamp { at: now.at + by, ..now }
}

fn id(n: u32) -> SandboxId {
    format!("i{n:020}").parse().unwrap()
}

fn team() -> sandscope_model::TeamId {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

fn subject(n: u32) -> Subject {
    Subject { sandbox_id: id(n), team_id: team(), cpu_count: 1, memory_bytes: 1 << 20 }
}

fn reading(now: Stamp) -> Counters {
    Counters {
        taken_at_usec: u64::try_from(now.uptime.since(Uptime::ZERO).as_micros()).unwrap(),
        cpu_usage_usec: 0,
        memory_current_bytes: 0,
        memory_reclaimable_bytes: 0,
        memory_file_bytes: 0,
        n_oom_kills: 0,
        n_pids: 0,
        disk_total_bytes: 0,
        disk_available_bytes: 0,
        more: Values::NONE,
    }
}

fn rounds() -> Rounds {
    Rounds::new(Duration::from_secs(5), false)
}

fn due(rounds: &mut Rounds, now: Stamp) -> bool {
    let round = rounds.begin(now.uptime, vec![id(1)]);
    assert!(round.new.is_empty());
    !round.due.is_empty()
}

#[test]
fn the_second_reading_follows_after_a_second_and_then_come_the_ticks() {
    let mut rounds = rounds();
    let round = rounds.begin(at(0, 300).uptime, vec![id(1)]);
    assert_eq!(round, Round { new: vec![id(1)], due: vec![] });
    rounds.start(at(0, 300).uptime, subject(1), reading(at(0, 300)));
    assert!(!due(&mut rounds, at(1, 299)));
    assert!(due(&mut rounds, at(1, 300)));
    assert!(rounds.take(at(1, 300), &id(1), reading(at(1, 300))).sample.is_some());
    assert!(!due(&mut rounds, at(4, 999)));
    assert!(due(&mut rounds, at(5, 0)));
    assert!(rounds.take(at(5, 0), &id(1), reading(at(5, 0))).sample.is_some());
    assert!(!due(&mut rounds, at(9, 999)));
    assert!(due(&mut rounds, at(10, 0)));
}

#[test]
fn a_tick_that_comes_too_soon_is_made_up_for_within_its_bucket_and_missed_ones_are_not() {
    let mut rounds = rounds();
    rounds.start(at(3, 500).uptime, subject(1), reading(at(3, 500)));
    rounds.take(at(4, 500), &id(1), reading(at(4, 500)));
    assert!(!due(&mut rounds, at(5, 0)));
    assert!(due(&mut rounds, at(5, 500)));
    assert!(rounds.take(at(5, 500), &id(1), reading(at(5, 500))).sample.is_some());
    assert!(!due(&mut rounds, at(9, 999)));
    assert!(due(&mut rounds, at(10, 0)));
    rounds.take(at(31, 0), &id(1), reading(at(31, 0)));
    assert!(!due(&mut rounds, at(34, 999)));
    assert!(due(&mut rounds, at(35, 0)));
}

#[test]
fn what_stood_still_starts_over() {
    let mut rounds = rounds();
    rounds.start(at(0, 0).uptime, subject(1), reading(at(0, 0)));
    rounds.begin(at(2, 0).uptime, vec![]);
    assert_eq!(rounds.take(at(3, 0), &id(1), reading(at(3, 0))), Taken::default());
    assert_eq!(rounds.begin(at(3, 0).uptime, vec![id(1)]).new, [id(1)]);
}

#[test]
fn ticks_are_whole_multiples_of_the_interval() {
    let rounds = rounds();
    assert_eq!(rounds.next_tick(at(0, 0)), at(5, 0).uptime);
    assert_eq!(rounds.next_tick(at(4, 999)), at(5, 0).uptime);
    let before_1970 = Stamp { at: Timestamp::from_millisecond(-1).unwrap(), ..at(0, 0) };
    assert_eq!(rounds.next_tick(before_1970), at(0, 1).uptime);
    assert_eq!(
        Rounds::new(Duration::ZERO, false).next_tick(at(0, 0)),
        at(1, 0).uptime,
        "an interval of nothing is one second"
    );
}

#[test]
fn every_second_is_shown_and_only_ticks_are_stored() {
    let mut rounds = Rounds::new(Duration::from_secs(5), true);
    rounds.start(at(0, 300).uptime, subject(1), reading(at(0, 300)));
    let mut told = Vec::new();
    for tenth in 4..=105_i64 {
        let now = at(tenth / 10, tenth % 10 * 100);
        if due(&mut rounds, now) {
            let taken = rounds.take(now, &id(1), reading(now));
            assert_eq!(taken.team_id, Some(team()));
            told.push((tenth, taken.sample.is_some(), taken.second.is_some()));
        }
    }
    let seconds: Vec<i64> = told.iter().map(|(tenth, ..)| *tenth).collect();
    assert_eq!(seconds, [13, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    let stored: Vec<i64> = told.iter().filter(|told| told.1).map(|told| told.0).collect();
    assert_eq!(stored, [13, 50, 100]);
    assert!(told.iter().all(|told| told.2));
}

#[test]
fn a_step_of_the_wall_clock_costs_no_sample_and_makes_none() {
    let hours_and_a_bit = |hours| SignedDuration::from_hours(hours) + SignedDuration::from_millis(1_700);
    for step in [hours_and_a_bit(-1), hours_and_a_bit(2), SignedDuration::from_mins(-10)] {
        let mut rounds = Rounds::new(Duration::from_secs(5), true);
        rounds.start(at(0, 0).uptime, subject(1), reading(at(0, 0)));
        let (mut stored, mut shown) = (Vec::new(), Vec::new());
        for tenth in 1..=400_i64 {
            let is_set = tenth > 220;
            let now =
                stepped(at(tenth / 10, tenth % 10 * 100), if is_set { step } else { SignedDuration::ZERO });
            if due(&mut rounds, now) {
                let taken = rounds.take(now, &id(1), reading(now));
                stored.extend(taken.sample.map(|sample| (tenth, sample)));
                shown.extend(taken.second.map(|_| tenth));
            }
        }
        assert!(shown.windows(2).all(|pair| (5..=15).contains(&(pair[1] - pair[0]))), "{step}: {shown:?}");
        let apart: Vec<i64> = stored.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(
            apart[1..].iter().all(|apart| (10..=60).contains(apart)) && apart.len() >= 7,
            "{step}: {apart:?}"
        );
        for (tenth, sample) in &stored {
            let is_set = *tenth > 220;
            let now =
                stepped(at(tenth / 10, tenth % 10 * 100), if is_set { step } else { SignedDuration::ZERO });
            assert_eq!(sample.at, now.at, "samples are found by what the wall clock shows");
        }
        let took: u64 =
            stored.iter().filter_map(|(_, sample)| sample.get(sandscope_model::MetricField::Interval)).sum();
        assert_eq!(took, u64::try_from(stored.last().unwrap().0 * 100).unwrap(), "{step}");
    }
}

mod property {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a sandbox's counters do, pauses included, no sample says more than there was.
        #[test]
        fn neither_resets_nor_pauses_make_spikes(
            steps in proptest::collection::vec((0_u64..3_000, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let mut rounds = Rounds::new(Duration::from_secs(5), true);
            let (mut now_ms, mut usage) = (0_i64, 0_u64);
            for (elapsed, resets, pauses) in steps {
                now_ms += i64::try_from(elapsed).unwrap();
                // Half a CPU, unless the group was made anew.
                usage = if resets { 0 } else { usage + elapsed * 500 };
                let now = at(0, now_ms);
                let running = if pauses { vec![] } else { vec![id(1)] };
                let round = rounds.begin(now.uptime, running);
                let next = Counters { cpu_usage_usec: usage, ..reading(now) };
                if !round.new.is_empty() {
                    rounds.start(now.uptime, subject(1), next);
                } else if !round.due.is_empty() {
                    let taken = rounds.take(now, &id(1), next);
                    for sample in [taken.sample, taken.second].into_iter().flatten() {
                        prop_assert!(sample.cpu_used_pct() <= 50.01, "{}", sample.cpu_used_pct());
                    }
                }
            }
        }
    }
}
