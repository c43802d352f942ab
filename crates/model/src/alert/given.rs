//! What is given for a rule, and what is wrong with it: the same rules in the same words wherever it comes from.

use super::{AlertBy, AlertMetric, AlertRule, AlertSide, AlertSource};

const DAY_S: u32 = 24 * 3600;
/// Longest name, in bytes.
const MAX_NAME: usize = 64;
/// What is counted is counted up to this.
const MAX_COUNT: f64 = 10_000.0;
/// Seconds over which events are counted where nothing is said.
const USUAL_WITHIN_S: u32 = 600;

/// A rule as given, unchecked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertGiven {
    /// The rule's name.
    pub name: String,
    /// What it looks at.
    pub metric: String,
    /// Fires at this value or above.
    pub above: Option<f64>,
    /// Fires at this value or below.
    pub below: Option<f64>,
    /// Resolves beyond this value.
    pub clear: Option<f64>,
    /// Seconds for which either must last.
    pub for_s: Option<u32>,
    /// Seconds over which is counted.
    pub within_s: Option<u32>,
    /// What has a number of its own.
    pub by: Option<String>,
}

/// What rules are held against that they do not say themselves.
#[derive(Debug, Clone, Copy)]
pub struct AlertBounds {
    /// What the seconds for which a value must last are called.
    pub for_s: &'static str,
    /// What the seconds over which is counted are called.
    pub within_s: &'static str,
    /// Days the team's events are kept.
    pub retention_days: u16,
    /// Whether usage has a price.
    pub has_prices: bool,
}

impl From<&AlertRule> for AlertGiven {
    fn from(rule: &AlertRule) -> Self {
        let of = |side| (rule.side == side).then_some(rule.threshold);
        Self {
            name: rule.name.clone(),
            metric: rule.metric.as_str().to_owned(),
            above: of(AlertSide::Above),
            below: of(AlertSide::Below),
            clear: Some(rule.clear),
            for_s: Some(rule.for_s),
            within_s: (rule.within_s > 0).then_some(rule.within_s),
            by: Some(rule.by.to_string()),
        }
    }
}

impl AlertGiven {
    /// The rule, or everything that is wrong with it, each as `<setting> must be …`.
    ///
    /// # Errors
    /// One sentence for each broken rule.
    pub fn check(&self, bounds: &AlertBounds) -> Result<AlertRule, Vec<String>> {
        let mut broken = Broken(Vec::new());
        let name_ok = (1..=MAX_NAME).contains(&self.name.len()) && !self.name.chars().any(char::is_control);
        broken.unless(name_ok, "name must be 1 to 64 bytes long, without control characters");
        let Ok(metric) = self.metric.parse::<AlertMetric>() else {
            let metrics = AlertMetric::ALL.map(AlertMetric::as_str).join(", ");
            broken.say(format!("metric must be one of {metrics}"));
            return Err(broken.0);
        };
        let source = metric.source();
        let (side, threshold) = match (self.above, self.below) {
            (Some(threshold), None) => (AlertSide::Above, threshold),
            (None, Some(threshold)) => (AlertSide::Below, threshold),
            _ => {
                broken.say("threshold must be given as either above or below".to_owned());
                return Err(broken.0);
            }
        };
        let clear = self.clear.unwrap_or(threshold);
        let is_sound = match side {
            AlertSide::Above => clear <= threshold,
            AlertSide::Below => clear >= threshold,
        };
        let is_sound = is_sound && threshold.is_finite() && clear.is_finite();
        broken.unless(is_sound, "clear must be on the good side of the threshold, or equal to it");
        if source != AlertSource::Samples {
            let is_above = side == AlertSide::Above && threshold > 0.0 && clear > 0.0;
            broken.unless(
                is_above,
                &format!("above must be given for {metric}, and it and clear must be more than 0"),
            );
        }
        let is_countable = source != AlertSource::Events || threshold <= MAX_COUNT;
        broken.unless(is_countable, &format!("above must be at most {MAX_COUNT} for {metric}"));
        broken.unless(
            metric != AlertMetric::Cost || bounds.has_prices,
            "metric must be another than cost: the operator has set no [prices]",
        );
        let for_s = self.for_s.unwrap_or(0);
        broken.unless(for_s <= DAY_S, &format!("{} must be at most a day", bounds.for_s));
        let counts = matches!(source, AlertSource::Events | AlertSource::Usage);
        broken.unless(
            for_s == 0 || !counts,
            &format!("{} must be left out for {metric}: it counts over {}", bounds.for_s, bounds.within_s),
        );
        let within_s = broken.within_s(self.within_s, source, bounds);
        let by = broken.by(self.by.as_deref(), metric);
        if broken.0.is_empty() {
            let name = self.name.clone();
            Ok(AlertRule { name, metric, side, threshold, clear, for_s, within_s, by })
        } else {
            Err(broken.0)
        }
    }
}

struct Broken(Vec<String>);

impl Broken {
    fn say(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    fn unless(&mut self, holds: bool, sentence: &str) {
        if !holds {
            self.say(sentence.to_owned());
        }
    }

    fn within_s(&mut self, given: Option<u32>, source: AlertSource, bounds: &AlertBounds) -> u32 {
        let word = bounds.within_s;
        let kept_s = u32::from(bounds.retention_days).saturating_mul(DAY_S);
        let (usual, least) = match source {
            AlertSource::Events => (USUAL_WITHIN_S, 1),
            AlertSource::Usage => (DAY_S, 3600),
            AlertSource::Samples | AlertSource::Webhooks | AlertSource::Host => {
                self.unless(
                    given.is_none(),
                    &format!("{word} must be left out: nothing is counted over time"),
                );
                return 0;
            }
        };
        let within_s = given.unwrap_or(usual);
        let is_kept = (least..=kept_s).contains(&within_s);
        let days = bounds.retention_days;
        self.unless(
            is_kept,
            &format!("{word} must be from {least} s to the {days} days that events are kept"),
        );
        within_s
    }

    fn by(&mut self, given: Option<&str>, metric: AlertMetric) -> AlertBy {
        let (usual, others) = match metric.source() {
            AlertSource::Samples => (AlertBy::Sandbox, "sandbox"),
            AlertSource::Events if metric == AlertMetric::Crashes => {
                (AlertBy::Template, "template, metadata.<key> or team")
            }
            AlertSource::Events => (AlertBy::Sandbox, "sandbox, template, metadata.<key> or team"),
            AlertSource::Usage | AlertSource::Host => (AlertBy::Team, "team"),
            AlertSource::Webhooks => (AlertBy::Webhook, "webhook"),
        };
        let by = given.map_or(Ok(usual.clone()), str::parse);
        let fits = match &by {
            Ok(by) if *by == usual => true,
            Ok(AlertBy::Template | AlertBy::Label(_) | AlertBy::Team) => {
                metric.source() == AlertSource::Events
            }
            _ => false,
        };
        self.unless(fits, &format!("by must be {others} for {metric}"));
        by.unwrap_or(usual)
    }
}

#[cfg(test)]
#[path = "given_tests.rs"]
mod tests;
