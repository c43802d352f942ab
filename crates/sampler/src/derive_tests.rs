use proptest::prelude::*;

use super::*;

fn subject(cpu_count: u32) -> Subject {
    Subject {
        sandbox_id: "i0123456789abcdefghij".parse().unwrap(),
        team_id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        cpu_count,
        memory_bytes: 512 << 20,
    }
}

fn reading(taken_at_usec: u64, cpu_usage_usec: u64) -> Counters {
    Counters {
        taken_at_usec,
        cpu_usage_usec,
        memory_current_bytes: 100,
        memory_reclaimable_bytes: 30,
        memory_file_bytes: 40,
        n_oom_kills: 0,
        n_pids: 3,
        disk_total_bytes: 1_000,
        disk_available_bytes: 900,
        more: Values::NONE,
    }
}

fn pct(prev: &Counters, next: &Counters, cpu_count: u32) -> Option<f64> {
    derive(prev, next, &subject(cpu_count), Timestamp::UNIX_EPOCH).map(|sample| sample.cpu_used_pct())
}

#[test]
fn a_sample_is_what_the_readings_mean() {
    let sample = derive(&reading(0, 0), &reading(5_000_000, 2_033_000), &subject(2), Timestamp::UNIX_EPOCH);
    let sample = sample.unwrap();
    assert_eq!(sample.cpu_used_pct(), 20.33);
    let expected = Values::NONE
        .with(F::CpuUsed, 2_033)
        .with(F::CpuCount, 2)
        .with(F::MemUsed, 70)
        .with(F::MemTotal, 512 << 20)
        .with(F::MemCache, 40)
        .with(F::DiskUsed, 100)
        .with(F::DiskTotal, 1_000)
        .with(F::Interval, 5_000)
        .with(F::Processes, 3)
        .with(F::OomKills, 0);
    assert_eq!(sample.values, expected);
}

#[test]
fn what_was_added_needs_both_readings_and_a_level_only_the_last() {
    let with = |more| Counters { more, ..reading(1_000_000, 0) };
    let before =
        Counters { more: Values::NONE.with(F::DiskRead, 100).with(F::IoStalled, 9), ..reading(0, 0) };
    let after = with(Values::NONE.with(F::DiskRead, 150).with(F::NetSent, 7).with(F::OpenFiles, 4));
    let sample = derive(&before, &after, &subject(1), Timestamp::UNIX_EPOCH).unwrap();
    let found = [F::DiskRead, F::IoStalled, F::NetSent, F::OpenFiles].map(|field| sample.get(field));
    assert_eq!(found, [Some(50), None, None, Some(4)]);
}

#[test]
fn percent_is_over_all_cpus_together() {
    let (idle, one_busy) = (reading(0, 0), reading(1_000_000, 1_000_000));
    assert_eq!(pct(&idle, &one_busy, 1), Some(100.0));
    assert_eq!(pct(&idle, &one_busy, 4), Some(25.0));
    assert_eq!(pct(&idle, &reading(1_000_000, 3_000_000), 2), Some(100.0), "never more than all");
}

#[test]
fn counters_that_restarted_read_as_nothing_used() {
    assert_eq!(pct(&reading(0, 9_000_000), &reading(1_000_000, 10), 1), Some(0.0));
}

#[test]
fn without_time_between_them_two_readings_say_nothing() {
    assert_eq!(pct(&reading(5, 0), &reading(5, 10), 1), None);
    assert_eq!(pct(&reading(6, 0), &reading(5, 10), 1), None);
}

fn any_more() -> impl Strategy<Value = Values> {
    proptest::collection::vec(any::<Option<u64>>(), F::COUNT).prop_map(|numbers| {
        let derived_otherwise = [F::CpuUsed, F::MemUsed, F::DiskUsed, F::DiskTotal, F::Interval];
        let pairs = F::ALL.iter().zip(numbers).filter(|(field, _)| !derived_otherwise.contains(field));
        pairs.filter_map(|(field, number)| Some((*field, number?))).collect()
    })
}

prop_compose! {
    fn any_reading()(values in any::<[u64; 8]>(), more in any_more()) -> Counters {
        let [taken_at_usec, cpu_usage_usec, memory_current_bytes, memory_reclaimable_bytes, memory_file_bytes,
            n_pids, disk_total_bytes, disk_available_bytes] = values;
        Counters {
            taken_at_usec,
            cpu_usage_usec,
            memory_current_bytes,
            memory_reclaimable_bytes,
            memory_file_bytes,
            n_oom_kills: 0,
            n_pids,
            disk_total_bytes,
            disk_available_bytes,
            more,
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_kernel_says_a_sample_stays_within_its_bounds(
        prev in any_reading(),
        next in any_reading(),
        cpu_count in 0_u32..=4096,
    ) {
        let derived = derive(&prev, &next, &subject(cpu_count), Timestamp::UNIX_EPOCH);
        prop_assert_eq!(derived.is_some(), next.taken_at_usec > prev.taken_at_usec);
        if let Some(sample) = derived {
            prop_assert!(sample.or_zero(F::CpuUsed) <= 10_000);
            prop_assert!(sample.or_zero(F::MemUsed) <= next.memory_current_bytes);
            prop_assert!(sample.or_zero(F::DiskUsed) <= sample.or_zero(F::DiskTotal));
            for (field, now) in next.more.iter() {
                match field.kind() {
                    MetricKind::Difference => {
                        let added = prev.more.get(field).map(|before| now.saturating_sub(before));
                        prop_assert_eq!(sample.get(field), added);
                    }
                    _ => prop_assert_eq!(sample.get(field), Some(now)),
                }
            }
        }
    }

    #[test]
    fn percent_is_the_share_within_half_a_hundredth(
        elapsed in 1_000_u64..100_000_000,
        share in 0.0_f64..=1.0,
        cpu_count in 1_u32..64,
    ) {
        let available = elapsed as f64 * f64::from(cpu_count);
        let used = (available * share) as u64;
        let got = pct(&reading(7, 11), &reading(7 + elapsed, 11 + used), cpu_count).unwrap();
        let exact = used as f64 / available * 100.0;
        prop_assert!((got - exact).abs() <= 0.005_001, "{got} for {exact}");
    }
}

proptest! {
    /// However often a counter is read, and however unevenly, what is stored adds up to what it counted.
    #[test]
    fn what_was_added_adds_up(steps in proptest::collection::vec((1_u64..9_000_000, 0_u64..1 << 40), 1..40)) {
        let (mut at, mut total) = (0, 0);
        let mut last = Counters { more: Values::NONE.with(F::NetReceived, 0), ..reading(0, 0) };
        let (mut added, mut elapsed_ms) = (0, 0);
        for (step, more) in steps {
            at += step;
            total += more;
            let next = Counters { more: Values::NONE.with(F::NetReceived, total), ..reading(at, 0) };
            let sample = derive(&last, &next, &subject(1), Timestamp::UNIX_EPOCH).unwrap();
            added += sample.or_zero(F::NetReceived);
            elapsed_ms += sample.or_zero(F::Interval);
            last = next;
        }
        prop_assert_eq!((added, elapsed_ms), (total, at / 1_000));
    }
}
