use std::process::ExitCode;

use sandscope_client::{Event, EventQuery};

use crate::cli::{EventsArgs, Format};
use crate::output::{self, Paint};

/// `sandscope events`
pub(crate) async fn run(arguments: EventsArgs) -> anyhow::Result<ExitCode> {
    let EventsArgs { sandbox, types, offset, limit, asc, format, server } = arguments;
    let client = super::client(server)?;
    let types = types.iter().map(|name| full_name(name)).collect();
    let query = EventQuery { sandbox_id: sandbox, types, offset, limit, ascending: asc };
    let events = client.events(&query).await?;
    match format {
        Format::Pretty => output::line(table(&events, Paint::for_stdout()))?,
        Format::Json => {
            for event in &events {
                output::line(serde_json::to_string(event)?)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `killed` means `sandbox.lifecycle.killed`.
fn full_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("sandbox.lifecycle.{name}") }
}

/// Events as a small table.
pub(crate) fn table(events: &[Event], paint: Paint) -> String {
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|event| {
            let name = event.event_type.rsplit('.').next().unwrap_or(&event.event_type);
            vec![moment(&event.timestamp), name.to_owned(), event.sandbox_id.clone(), details(event)]
        })
        .collect();
    output::table(&["TIME", "EVENT", "SANDBOX", "DETAILS"], &rows, paint)
}

/// To the millisecond, for people.
fn moment(timestamp: &str) -> String {
    let parsed: Option<jiff::Timestamp> = timestamp.parse().ok();
    parsed.map_or_else(|| timestamp.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

/// The part of an event's data worth a column.
fn details(event: &Event) -> String {
    let Some(data) = &event.event_data else { return String::new() };
    let mut parts = Vec::new();
    if let Some(reason) = data["kill_reason"].as_str() {
        parts.push(format!("reason {reason}"));
    }
    for (key, word) in [("exit_code", "exit code"), ("exit_signal", "signal"), ("oom_kills", "OOM kills")] {
        if let Some(value) = data[key].as_i64() {
            parts.push(format!("{word} {value}"));
        }
    }
    if let Some(until) = data["set_timeout"].as_str() {
        parts.push(format!("times out at {until}"));
    }
    if let Some(ran) = data["execution"]["execution_time"].as_u64() {
        parts.push(format!("ran {}.{:03} s", ran / 1000, ran % 1000));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_say_why_and_for_how_long() {
        let event = Event {
            id: String::new(),
            event_type: "sandbox.lifecycle.killed".to_owned(),
            event_data: Some(json!({"kill_reason": "timeout", "execution": {"execution_time": 1042}})),
            sandbox_id: "i0".to_owned(),
            timestamp: "2025-08-06T20:59:36Z".to_owned(),
            rest: serde_json::Map::new(),
        };
        assert_eq!(details(&event), "reason timeout, ran 1.042 s");
        assert_eq!(moment(&event.timestamp), "2025-08-06 20:59:36.000");
        assert_eq!(full_name("killed"), event.event_type);
    }
}
