use super::*;

const BOUNDS: AlertBounds =
    AlertBounds { for_s: "for_s", within_s: "within_s", retention_days: 7, has_prices: false };

fn given(metric: &str) -> AlertGiven {
    AlertGiven { name: "n".to_owned(), metric: metric.to_owned(), above: Some(3.0), ..AlertGiven::default() }
}

#[test]
fn what_is_left_out_is_what_makes_sense_for_the_metric() {
    for (metric, within_s, by) in [
        ("cpuPct", 0, AlertBy::Sandbox),
        ("outOfMemory", 600, AlertBy::Sandbox),
        ("crashes", 600, AlertBy::Template),
        ("vcpuHours", 86_400, AlertBy::Team),
        ("webhookBehind", 0, AlertBy::Webhook),
    ] {
        let rule = given(metric).check(&BOUNDS).unwrap();
        assert_eq!((rule.clear, rule.for_s, rule.within_s, rule.by), (3.0, 0, within_s, by), "{metric}");
    }
}

#[test]
fn a_rule_is_given_as_it_is() {
    for rule in AlertRule::defaults() {
        assert_eq!(AlertGiven::from(&rule).check(&BOUNDS), Ok(rule));
    }
}

#[test]
fn every_broken_rule_is_told_in_the_words_of_who_gave_it() {
    let words = |given: AlertGiven| given.check(&BOUNDS).unwrap_err().join("; ");
    let nothing = AlertGiven::default();
    assert!(words(nothing).contains("name must be 1 to 64 bytes long"), "no name and no metric");
    for (broken, wanted) in [
        (AlertGiven { name: "a\nb".to_owned(), ..given("cpuPct") }, "name must be"),
        (given("luck"), "metric must be one of cpuPct, memPct"),
        (AlertGiven { below: Some(1.0), ..given("cpuPct") }, "given as either above or below"),
        (AlertGiven { above: None, ..given("cpuPct") }, "given as either above or below"),
        (AlertGiven { clear: Some(4.0), ..given("cpuPct") }, "clear must be on the good side"),
        (AlertGiven { above: Some(f64::NAN), ..given("cpuPct") }, "clear must be"),
        (AlertGiven { for_s: Some(86_401), ..given("cpuPct") }, "for_s must be at most a day"),
        (AlertGiven { for_s: Some(1), ..given("crashes") }, "for_s must be left out for crashes"),
        (AlertGiven { within_s: Some(60), ..given("cpuPct") }, "within_s must be left out"),
        (AlertGiven { within_s: Some(0), ..given("crashes") }, "within_s must be from 1 s"),
        (AlertGiven { within_s: Some(604_801), ..given("crashes") }, "the 7 days that events are kept"),
        (AlertGiven { within_s: Some(60), ..given("vcpuHours") }, "within_s must be from 3600 s"),
        (AlertGiven { by: Some("team".to_owned()), ..given("cpuPct") }, "by must be sandbox for cpuPct"),
        (AlertGiven { by: Some("sandbox".to_owned()), ..given("crashes") }, "by must be template, metadata"),
        (AlertGiven { by: Some("luck".to_owned()), ..given("crashes") }, "by must be template, metadata"),
        (AlertGiven { above: None, below: Some(1.0), ..given("crashes") }, "above must be given for crashes"),
        (given("cost"), "the operator has set no [prices]"),
    ] {
        let said = words(broken);
        assert!(said.contains(wanted), "{said}, not {wanted}");
    }
}
