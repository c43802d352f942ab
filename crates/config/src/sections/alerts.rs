use sandscope_model::{AlertBounds, AlertGiven, AlertRule, AlertSide};
use toml::{Table, Value};

use crate::given::Source;
use crate::rules::Rules;
use crate::setting::Setting;
use crate::shape::Shape;

pub(super) const TABLE: &str = "alerts";
pub(super) const ABOUT: &str = "Rules of alerts, each a table `[[alerts]]`; at most 100, with different names. One that \
                                is named as a shipped one takes its place.";

/// Most rules there may be.
const MAX_RULES: usize = 100;

/// The keys of one rule. The model checks what they say together.
pub(super) fn settings() -> Vec<Setting> {
    let key = |key, shape, doc| Setting::unchecked((TABLE, key), shape, doc);
    vec![
        key("name", Shape::Text, "Name of the rule"),
        key("metric", Shape::Text, "Metric, for example cpuPct (docs/alerts.md)"),
        key("above", Shape::Number, "Fires at this value or above; this or `below`"),
        key("below", Shape::Number, "Fires at this value or below"),
        key("clear", Shape::Number, "Resolves beyond this value; default: the threshold"),
        key("for_s", Shape::Whole, "Seconds that the condition must last, to fire and to resolve"),
        key("within_s", Shape::Whole, "Window in seconds over which events are counted"),
        key("by", Shape::Text, "One alert for each: sandbox, template, metadata.<key>, team or webhook"),
    ]
}

/// `[[alerts]]`, and the shipped ones.
pub(crate) struct Alerts;

impl Alerts {
    pub(crate) fn resolve(rules: &mut Rules<'_>, with_shipped: bool, bounds: &AlertBounds) -> Vec<AlertRule> {
        let given: Vec<AlertGiven> = rules.given().alerts.iter().map(given).collect();
        let mut found = if with_shipped { AlertRule::defaults() } else { Vec::new() };
        // One of the same name takes the place of a shipped one.
        found.retain(|rule| given.iter().all(|other| other.name != rule.name));
        let n_shipped = found.len();
        for one in given {
            let name = one.name.clone();
            match one.check(bounds) {
                Ok(rule) => found.push(rule),
                Err(broken) => {
                    for sentence in broken {
                        rules.check(false, (TABLE, "name"), &format!("alerts `{name}`: {sentence}"));
                    }
                }
            }
        }
        let is_repeated = |rule: &AlertRule| found.iter().filter(|other| other.name == rule.name).count() > 1;
        let repeated = found.iter().any(is_repeated);
        rules.check(!repeated, (TABLE, "name"), "alerts name must be different for each rule");
        rules.check(found.len() <= MAX_RULES, (TABLE, "name"), "alerts must be at most 100 rules");
        for (n, rule) in found.iter().enumerate() {
            show(rules, n, rule, if n < n_shipped { Source::Default } else { Source::File });
        }
        found
    }
}

fn given(table: &Table) -> AlertGiven {
    let text = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
    let whole = |key: &str| table.get(key).and_then(Value::as_integer).and_then(|n| u32::try_from(n).ok());
    let number = |key: &str| match table.get(key)? {
        Value::Integer(number) => Some(*number as f64),
        other => other.as_float(),
    };
    AlertGiven {
        name: text("name").unwrap_or_default(),
        metric: text("metric").unwrap_or_default(),
        above: number("above"),
        below: number("below"),
        clear: number("clear"),
        for_s: whole("for_s"),
        within_s: whole("within_s"),
        by: text("by"),
    }
}

fn show(rules: &mut Rules<'_>, n: usize, rule: &AlertRule, source: Source) {
    let side = match rule.side {
        AlertSide::Above => "above",
        AlertSide::Below => "below",
    };
    // What counts over a time takes no time to last, and the other way round.
    let lasting = match rule.within_s {
        0 => ("for_s", rule.for_s.into()),
        within_s => ("within_s", within_s.into()),
    };
    let lines: [(&'static str, Value); 6] = [
        ("name", rule.name.as_str().into()),
        ("metric", rule.metric.as_str().into()),
        (side, rule.threshold.into()),
        ("clear", rule.clear.into()),
        lasting,
        ("by", rule.by.to_string().into()),
    ];
    for (key, value) in lines {
        rules.show("[alerts]", n, key, &value, source);
    }
}
