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
