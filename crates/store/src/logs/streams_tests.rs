use proptest::prelude::*;

use super::*;

#[test]
fn an_honest_claim_is_kept() {
    assert_eq!(stamp(None, 10_000, [1_500, 2_500, 9_999].into_iter()), [1_500, 2_500, 9_999]);
    assert_eq!(stamp(Some(1_400), 10_000, [2_001, 5_000].into_iter()), [2_001, 5_000]);
}

#[test]
fn the_future_the_past_and_a_taken_millisecond_are_not() {
    assert_eq!(stamp(None, 10_000, [i64::MAX, i64::MIN].into_iter()), [10_000, 11_000]);
    assert_eq!(stamp(Some(1_400), 1_900, [1_500, 1_600].into_iter()), [2_000, 3_000]);
}

proptest! {
    /// However agents claim and however batches fall, a client that pages by milliseconds gets every entry once,
    /// whatever the size of its pages and in either direction.
    #[test]
    fn paging_by_milliseconds_is_exact(
        batches in proptest::collection::vec(
            (0..3_000i64, proptest::collection::vec(-2_000..5_000i64, 1..200)),
            1..6,
        ),
        limit in 1..300usize,
    ) {
        let (mut now, mut last, mut log) = (1_000_000, None, Vec::new());
        for (elapsed, claims) in batches {
            now += elapsed;
            let times = stamp(last, now, claims.iter().map(|claim| now + claim));
            prop_assert!(times.is_sorted());
            let latest = last.unwrap_or(now).max(now) + i64::try_from(times.len()).unwrap() * MILLISECOND;
            prop_assert!(times.last().is_none_or(|at| *at <= latest));
            last = times.last().copied();
            log.extend(times);
        }
        let (mut start, mut seen) = (0, Vec::new());
        loop {
            let page: Vec<i64> = log.iter().copied().filter(|at| *at >= start).take(limit).collect();
            let Some(end) = page.last() else { break };
            start = (end / MILLISECOND + 1) * MILLISECOND;
            seen.extend(page);
        }
        prop_assert_eq!(&seen, &log);
        let (mut end, mut back) = (i64::MAX, Vec::new());
        loop {
            let page: Vec<i64> = log.iter().rev().copied().filter(|at| *at < end).take(limit).collect();
            let Some(oldest) = page.last() else { break };
            end = oldest / MILLISECOND * MILLISECOND;
            back.extend(page);
        }
        back.reverse();
        prop_assert_eq!(back, log);
    }
}
