//! `sandscope alert`: what fires, and the rules by which it does.

use std::process::ExitCode;

use sandscope_client::{AlertRuleBody, AlertRuleView, FiringAlertView};
use sandscope_model::{Clock as _, Timestamp, when};
use sandscope_system::SystemClock;
use serde::Serialize;

use crate::arguments::{AlertCommand, Format, RuleArgs};
use sandscope_console::output::{self, Paint};

/// Runs one of them.
pub(crate) async fn run(command: AlertCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlertCommand::List { format, server } => {
            let alerts = super::client(server)?.alerts().await?;
            print(format.get(), &alerts.firing, |alerts| {
                firing(alerts, SystemClock.now(), Paint::for_stdout())
            })?;
            if alerts.has_more {
                output::note("more fires than is shown");
            }
        }
        AlertCommand::Rules { format, server } => {
            let found = super::client(server)?.alert_rules().await?;
            print(format.get(), &found, |found| rules(found, Paint::for_stdout()))?;
        }
        AlertCommand::Create { name, rule, format, server } => {
            let made = super::client(server)?.create_alert_rule(&body(Some(name), rule)).await?;
            show(format.get(), &made)?;
        }
        AlertCommand::Update { id, name, rule, format, server } => {
            let changed = super::client(server)?.update_alert_rule(&id, &body(name, rule)).await?;
            show(format.get(), &changed)?;
        }
        AlertCommand::Delete { id, server } => super::client(server)?.delete_alert_rule(&id).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn body(name: Option<String>, rule: RuleArgs) -> AlertRuleBody {
    let RuleArgs { metric, above, below, clear, for_s, within_s, by } = rule;
    AlertRuleBody { name, metric, above, below, clear, for_seconds: for_s, within_seconds: within_s, by }
}

fn show(format: Format, rule: &AlertRuleView) -> anyhow::Result<()> {
    match format {
        Format::Pretty => output::line(rule.id.map(|id| id.to_string()).unwrap_or_default())?,
        Format::Json => output::line(serde_json::to_string(rule)?)?,
    }
    Ok(())
}

fn print<T: Serialize>(format: Format, all: &[T], table: impl Fn(&[T]) -> String) -> anyhow::Result<()> {
    match format {
        Format::Pretty => output::line(table(all))?,
        Format::Json => {
            for one in all {
                output::line(serde_json::to_string(one)?)?;
            }
        }
    }
    Ok(())
}

fn firing(alerts: &[FiringAlertView], now: Timestamp, paint: Paint) -> String {
    let rows: Vec<_> = alerts
        .iter()
        .map(|alert| {
            let value = alert.value.map(|value| value.to_string()).unwrap_or_default();
            vec![
                when::with_age(alert.since, now),
                output::printable(&alert.rule),
                output::printable(&alert.subject),
                value,
            ]
        })
        .collect();
    output::table(&["SINCE", "RULE", "ABOUT", "VALUE"], &rows, paint)
}

fn rules(all: &[AlertRuleView], paint: Paint) -> String {
    let rows: Vec<_> = all
        .iter()
        .map(|rule| {
            let id = rule.id.map_or_else(|| "(operator's)".to_owned(), |id| id.to_string());
            vec![id, output::printable(&rule.name), output::printable(&condition(rule))]
        })
        .collect();
    output::table(&["ID", "NAME", "FIRES"], &rows, paint)
}

/// When a rule fires, as one would say it.
fn condition(rule: &AlertRuleView) -> String {
    let (side, threshold) = match (rule.above, rule.below) {
        (Some(above), _) => ("above", above),
        (None, below) => ("below", below.unwrap_or_default()),
    };
    // The option's own words, and what they include.
    let mut words = format!("{} at {threshold} or {side}", rule.metric);
    if let Some(within_s) = rule.within_seconds {
        words.push_str(&format!(" within {within_s} s"));
    }
    if rule.for_seconds > 0 {
        words.push_str(&format!(" for {} s", rule.for_seconds));
    }
    words.push_str(&format!(" by {}", rule.by));
    if rule.clear.total_cmp(&threshold).is_ne() {
        words.push_str(&format!(", until {}", rule.clear));
    }
    words
}

#[cfg(test)]
mod tests {
    use sandscope_model::AlertRule;

    use super::*;

    #[test]
    fn rules_are_said_as_one_would_say_them() {
        let all: Vec<AlertRuleView> = AlertRule::defaults().iter().map(Into::into).collect();
        insta::assert_snapshot!(rules(&all, Paint::none()));
    }
}
