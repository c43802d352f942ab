use std::time::Duration;

/// `p50 1.23 ms, p99 4.56 ms` of `durations`.
pub(super) fn describe(durations: &mut [Duration]) -> String {
    durations.sort_unstable();
    match (at(durations, 50), at(durations, 99)) {
        (Some(median), Some(tail)) => format!("p50 {}, p99 {}", ms(median), ms(tail)),
        _ => "nothing measured".to_owned(),
    }
}

/// The value that `percent` of the sorted `durations` do not exceed.
fn at(durations: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (durations.len() * percent).div_ceil(100);
    durations.get(rank.saturating_sub(1)).copied()
}

/// The median of the sorted `durations`.
pub(super) fn median(durations: &[Duration]) -> Duration {
    at(durations, 50).unwrap_or_default()
}

pub(super) fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut durations: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(describe(&mut durations), "p50 100.00 ms, p99 198.00 ms");
        assert_eq!(describe(&mut []), "nothing measured");
        assert_eq!(at(&[Duration::from_millis(7)], 50), Some(Duration::from_millis(7)));
    }
}
