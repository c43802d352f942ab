use proptest::prelude::*;

use super::*;
use crate::{AlertBy, AlertMetric, AlertSide};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn memory() -> AlertRule {
    AlertRule {
        name: "memory".to_owned(),
        metric: AlertMetric::MemPct,
        side: AlertSide::Above,
        threshold: 90.0,
        clear: 80.0,
        for_s: 10,
        within_s: 0,
        by: AlertBy::Sandbox,
    }
}

/// Every change, with its second.
fn changes(rule: &AlertRule, numbers: impl IntoIterator<Item = (i64, f64)>) -> Vec<(i64, AlertChange)> {
    let mut watch = AlertWatch::default();
    let see = |(second, value)| watch.see(rule, value, at(second)).map(|change| (second, change));
    numbers.into_iter().filter_map(see).collect()
}

#[test]
fn it_fires_once_when_it_has_lasted_and_resolves_when_that_has_lasted() {
    let numbers = (0..100).map(|second| (second, if (20..50).contains(&second) { 95.0 } else { 50.0 }));
    assert_eq!(changes(&memory(), numbers), [(30, AlertChange::Firing), (60, AlertChange::Resolved)]);
}

#[test]
fn a_peak_that_does_not_last_is_none_and_hovering_does_not_flap() {
    let peaks = (0..100).map(|second| (second, if second % 10 == 9 { 50.0 } else { 95.0 }));
    assert_eq!(changes(&memory(), peaks), []);
    let hovering = (0..200).map(|second| (second, if second > 20 && second % 2 == 0 { 85.0 } else { 92.0 }));
    assert_eq!(changes(&memory(), hovering), [(10, AlertChange::Firing)]);
}

#[test]
fn a_pause_proves_nothing() {
    let numbers = (0..8).map(|second| (second, 95.0)).chain((500..509).map(|second| (second, 95.0)));
    assert_eq!(changes(&memory(), numbers), []);
    let mut watch = AlertWatch::firing();
    assert_eq!(watch.see(&memory(), 95.0, at(0)), None, "what fired before a restart does not fire again");
    assert!(watch.is_firing());
}

#[test]
fn the_past_fires_nothing_but_counts() {
    let mut watch = AlertWatch::default();
    (0..100).for_each(|second| watch.look_back(&memory(), 95.0, at(second)));
    assert!(!watch.is_firing());
    assert_eq!(watch.see(&memory(), 95.0, at(100)), Some(AlertChange::Firing));
    let mut watch = AlertWatch::default();
    (0..100).for_each(|second| watch.look_back(&memory(), if second < 97 { 95.0 } else { 50.0 }, at(second)));
    assert_eq!(watch.see(&memory(), 95.0, at(100)), None, "it was good in between");
}

#[test]
fn below_is_the_same_the_other_way_round() {
    let idle = AlertRule { side: AlertSide::Below, threshold: 1.0, clear: 2.0, ..memory() };
    let numbers = (0..60).map(|second| (second, if second < 30 { 0.1 } else { 50.0 }));
    assert_eq!(changes(&idle, numbers), [(10, AlertChange::Firing), (40, AlertChange::Resolved)]);
}

#[test]
fn the_shipped_rules_hold_together() {
    let rules = AlertRule::defaults();
    for rule in &rules {
        assert_eq!(rules.iter().filter(|other| other.name == rule.name).count(), 1);
        assert_eq!(rule.metric.as_str().parse(), Ok(rule.metric));
        match rule.side {
            AlertSide::Above => assert!(rule.clear <= rule.threshold),
            AlertSide::Below => assert!(rule.clear >= rule.threshold),
        }
    }
}

proptest! {
    #[test]
    fn firing_and_resolved_take_turns(numbers in proptest::collection::vec((0_i64..20, 0.0_f64..100.0), 0..200)) {
        let mut second = 0;
        let timed: Vec<_> = numbers.into_iter().map(|(elapsed, value)| { second += elapsed; (second, value) }).collect();
        let told = changes(&memory(), timed);
        for (index, (_, change)) in told.iter().enumerate() {
            let expected = if index % 2 == 0 { AlertChange::Firing } else { AlertChange::Resolved };
            prop_assert_eq!(*change, expected);
        }
        for pair in told.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= 10, "each must have lasted");
        }
    }
}
