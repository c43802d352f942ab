use super::*;

#[test]
fn a_number_may_have_a_line_end_and_max_means_no_limit() {
    assert_eq!(number(b"4096\n"), Some(4096));
    assert_eq!(number(b"0"), Some(0));
    assert_eq!(number(b"max\n"), Some(u64::MAX));
    assert_eq!(number(b"18446744073709551615\n"), Some(u64::MAX));
    assert_eq!(number(b"18446744073709551616\n"), None);
    assert_eq!(number(b""), None);
    assert_eq!(number(b"-1"), None);
    assert_eq!(number(b"12a"), None);
}

#[test]
fn a_key_is_matched_whole() {
    let stat = b"cache 10\ninactive_file 20\ntotal_cache 30\ntotal_inactive_file 40\n";
    assert_eq!(keyed(stat, "cache"), Some(10));
    assert_eq!(keyed(stat, "inactive_file"), Some(20));
    assert_eq!(keyed(stat, "total_inactive_file"), Some(40));
    assert_eq!(keyed(stat, "inactive"), None);
    assert_eq!(keyed(b"oom 1\noom_kill 2\noom_group_kill 0\n", "oom_kill"), Some(2));
    assert_eq!(keyed(b"oom_kill", "oom_kill"), None);
}

#[test]
fn foreign_processes_are_left_out() {
    assert_eq!(pids(b"12\n0\n7\n"), vec![12, 7]);
    assert!(pids(b"").is_empty());
}

#[test]
fn the_totals_of_stalls_are_at_the_end_of_their_lines() {
    let both = b"some avg10=0.00 avg60=0.10 avg300=0.05 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n";
    assert_eq!(stalled(both), Some(Stalled { some_usec: 1_234, full_usec: Some(99) }));
    let some = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
    assert_eq!(stalled(some), Some(Stalled { some_usec: 7, full_usec: None }));
    for bad in [&b""[..], b"full total=1\n", b"some avg10=0.00\n", b"some total=x\n"] {
        assert_eq!(stalled(bad), None);
    }
}

#[test]
fn lists_of_cpus_have_ranges() {
    assert_eq!(cpus(b"0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
    assert_eq!(cpus(b"5\n"), Some(vec![5]));
    assert_eq!(cpus(b"\n"), Some(vec![]));
    for bad in [&b"a"[..], b"1-", b"-1", b"1-2-3", b"0-4294967295", b"4294967296"] {
        assert_eq!(cpus(bad), None);
    }
}
