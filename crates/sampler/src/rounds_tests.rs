use super::*;

fn at(seconds: i64, ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + seconds * 1_000 + ms).unwrap()
}

fn id(n: u32) -> SandboxId {
    format!("i{n:020}").parse().unwrap()
}

fn subject(n: u32) -> Subject {
    Subject { sandbox_id: id(n), cpu_count: 1, memory_bytes: 1 << 20 }
}

fn reading(now: Timestamp) -> Counters {
    Counters {
        taken_at_usec: u64::try_from(now.as_microsecond()).unwrap(),
        cpu_usage_usec: 0,
        memory_current_bytes: 0,
        memory_inactive_file_bytes: 0,
        memory_file_bytes: 0,
        n_oom_kills: 0,
        n_pids: 0,
        disk_total_bytes: 0,
        disk_available_bytes: 0,
    }
}

fn rounds() -> Rounds {
    Rounds::new(Duration::from_secs(5))
}

fn due(rounds: &mut Rounds, now: Timestamp) -> bool {
    let round = rounds.begin(now, vec![id(1)]);
    assert!(round.new.is_empty());
    !round.due.is_empty()
}

#[test]
fn the_second_reading_follows_after_a_second_and_then_come_the_ticks() {
    let mut rounds = rounds();
    let round = rounds.begin(at(0, 300), vec![id(1)]);
    assert_eq!(round, Round { new: vec![id(1)], due: vec![] });
    rounds.start(at(0, 300), subject(1), reading(at(0, 300)));
    assert!(!due(&mut rounds, at(1, 299)));
    assert!(due(&mut rounds, at(1, 300)));
    assert!(rounds.take(at(1, 300), &id(1), reading(at(1, 300))).is_some());
    assert!(!due(&mut rounds, at(4, 999)));
    assert!(due(&mut rounds, at(5, 0)));
    assert!(rounds.take(at(5, 0), &id(1), reading(at(5, 0))).is_some());
    assert!(!due(&mut rounds, at(9, 999)));
    assert!(due(&mut rounds, at(10, 0)));
}

#[test]
fn a_tick_that_comes_too_soon_is_left_out_and_missed_ones_are_not_made_up() {
    let mut rounds = rounds();
    rounds.start(at(3, 500), subject(1), reading(at(3, 500)));
    rounds.take(at(4, 500), &id(1), reading(at(4, 500)));
    assert!(!due(&mut rounds, at(5, 0)));
    assert!(due(&mut rounds, at(10, 0)));
    rounds.take(at(31, 0), &id(1), reading(at(31, 0)));
    assert!(!due(&mut rounds, at(34, 999)));
    assert!(due(&mut rounds, at(35, 0)));
}

#[test]
fn what_stood_still_starts_over() {
    let mut rounds = rounds();
    rounds.start(at(0, 0), subject(1), reading(at(0, 0)));
    rounds.begin(at(2, 0), vec![]);
    assert_eq!(rounds.take(at(3, 0), &id(1), reading(at(3, 0))), None);
    assert_eq!(rounds.begin(at(3, 0), vec![id(1)]).new, [id(1)]);
}

#[test]
fn ticks_are_whole_multiples_of_the_interval() {
    let rounds = rounds();
    assert_eq!(rounds.next_tick(at(0, 0)), at(5, 0));
    assert_eq!(rounds.next_tick(at(4, 999)), at(5, 0));
    assert_eq!(rounds.next_tick(Timestamp::from_millisecond(-1).unwrap()), Timestamp::UNIX_EPOCH);
    assert_eq!(
        Rounds::new(Duration::ZERO).next_tick(at(0, 0)),
        at(1, 0),
        "an interval of nothing is one second"
    );
}
