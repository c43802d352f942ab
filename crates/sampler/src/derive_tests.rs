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
        memory_inactive_file_bytes: 30,
        memory_file_bytes: 40,
        n_oom_kills: 0,
        n_pids: 3,
        disk_total_bytes: 1_000,
        disk_available_bytes: 900,
    }
}

fn pct(prev: &Counters, next: &Counters, cpu_count: u32) -> Option<f64> {
    derive(prev, next, &subject(cpu_count), Timestamp::UNIX_EPOCH).map(|sample| sample.cpu_used_pct)
}

#[test]
fn a_sample_is_what_the_readings_mean() {
    let sample = derive(&reading(0, 0), &reading(5_000_000, 2_033_000), &subject(2), Timestamp::UNIX_EPOCH);
    let sample = sample.unwrap();
    assert_eq!(sample.cpu_used_pct, 20.33);
    assert_eq!((sample.cpu_count, sample.mem_total_bytes), (2, 512 << 20));
    assert_eq!((sample.mem_used_bytes, sample.mem_cache_bytes), (70, 40));
    assert_eq!((sample.disk_used_bytes, sample.disk_total_bytes), (100, 1_000));
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

prop_compose! {
    fn any_reading()(values in any::<[u64; 8]>()) -> Counters {
        let [taken_at_usec, cpu_usage_usec, memory_current_bytes, memory_inactive_file_bytes, memory_file_bytes,
            n_pids, disk_total_bytes, disk_available_bytes] = values;
        Counters {
            taken_at_usec,
            cpu_usage_usec,
            memory_current_bytes,
            memory_inactive_file_bytes,
            memory_file_bytes,
            n_oom_kills: 0,
            n_pids,
            disk_total_bytes,
            disk_available_bytes,
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
            prop_assert!((0.0..=100.0).contains(&sample.cpu_used_pct));
            let hundredths = sample.cpu_used_pct * 100.0;
            prop_assert!((hundredths - hundredths.round()).abs() < 1e-9, "two decimals: {}", sample.cpu_used_pct);
            prop_assert!(sample.mem_used_bytes <= next.memory_current_bytes);
            prop_assert!(sample.disk_used_bytes <= sample.disk_total_bytes);
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
