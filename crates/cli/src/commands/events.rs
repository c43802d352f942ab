use std::process::ExitCode;

use sandscope_client::{Client, Event, EventFilter, EventQuery, Followed};
use sandscope_model::{Clock as _, EventType, Timestamp, when};
use sandscope_system::SystemClock;
use serde_json::Value;

use crate::arguments::{EventsArgs, Format};
use sandscope_console::output::{self, Paint, printable};

/// Every type of event, as the API takes it.
pub(super) const ALL: &str = "all";

/// `sandscope events`
pub(crate) async fn run(arguments: EventsArgs) -> anyhow::Result<ExitCode> {
    let EventsArgs { sandbox, types, reasons, template, metadata, since, until, .. } = arguments;
    let EventsArgs { follow, offset, limit, asc, format, server, .. } = arguments;
    let (client, format) = (super::client(server)?, format.get());
    let filter = EventFilter {
        types: wanted(&types),
        reasons,
        template,
        metadata,
        start: since.map(|at| at.to_string()),
        end: until.map(|at| at.to_string()),
    };
    let query =
        EventQuery { sandbox_id: sandbox, filter, offset, limit, ascending: asc, ..EventQuery::default() };
    if follow {
        return go_on(&client, query, format).await;
    }
    let events = client.events(&query).await?;
    match format {
        Format::Pretty => output::line(table(&events, SystemClock.now(), Paint::for_stdout()))?,
        Format::Json => {
            for event in &events {
                output::line(serde_json::to_string(event)?)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the newest events there are, or all since a given time, and then every event as it happens.
async fn go_on(client: &Client, query: EventQuery, format: Format) -> anyhow::Result<ExitCode> {
    let after = if query.filter.start.is_some() {
        "oldest".to_owned()
    } else {
        // Everything up to here is shown from the history, everything behind it from the stream.
        let newest = EventQuery { limit: 1, ..EventQuery::default() };
        let last = client.events(&newest).await?.first().map_or(0, |event| event.sequence);
        let mut events = client.events(&query).await?;
        events.retain(|event| event.sequence <= last);
        for event in events.iter().rev() {
            show(event, format)?;
        }
        last.to_string()
    };
    let mut follow = client.follow(query.sandbox_id.as_deref(), &query.filter, &after);
    loop {
        match follow.next().await? {
            Followed::Event(event) => show(&event, format)?,
            Followed::Reset(about) => output::note(format_args!("events are missing: {about}")),
            Followed::Broken(error) => output::note(format_args!("{error}; connecting again")),
        }
    }
}

fn show(event: &Event, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::line(serde_json::to_string(event)?)?,
        Format::Pretty => {
            let [at, name, sandbox, details] = cells(event);
            output::line(format!("{at}  {name:<12}  {sandbox}  {details}").trim_end())?;
        }
    }
    Ok(())
}

/// All types where none is named: out-of-memory kills and alerts belong to the answer to "why did it die".
fn wanted(types: &[String]) -> Vec<String> {
    if types.is_empty() {
        return vec![ALL.to_owned()];
    }
    types.iter().map(|name| full_name(name)).collect()
}

/// `killed` means `sandbox.lifecycle.killed`, `oom` means `sandbox.oom`.
pub(super) fn full_name(name: &str) -> String {
    let of_sandbox = format!("sandbox.{name}");
    if name.contains('.') || name == ALL {
        name.to_owned()
    } else if of_sandbox.parse::<EventType>().is_ok() {
        of_sandbox
    } else {
        format!("sandbox.lifecycle.{name}")
    }
}

/// Events as a small table, with their ages at `now`.
pub fn table(events: &[Event], now: Timestamp, paint: Paint) -> String {
    let row = |event: &Event| {
        let [at, name, sandbox, details] = cells(event);
        let age = event.timestamp.parse().map_or_else(|_| String::new(), |at| when::relative(at, now));
        vec![at, age, name, sandbox, details]
    };
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    output::table(&["TIME", "AGE", "EVENT", "SANDBOX", "DETAILS"], &rows, paint)
}

fn cells(event: &Event) -> [String; 4] {
    // `killed`, `oom`; with its class where it is not about a sandbox: `webhook.disabled`.
    let name = event.event_type.rsplit("sandbox.").next().unwrap_or_default();
    let name = name.strip_prefix("lifecycle.").unwrap_or(name);
    let sandbox = event.sandbox_id.clone().unwrap_or_else(|| "-".to_owned());
    [moment(&event.timestamp), printable(name), sandbox, details(event)]
}

/// To the millisecond, for people.
fn moment(timestamp: &str) -> String {
    timestamp.parse().map_or_else(|_| printable(timestamp), when::millisecond)
}

/// The part of an event's data worth a column.
fn details(event: &Event) -> String {
    let Some(data) = &event.event_data else { return String::new() };
    let mut parts = Vec::new();
    if let Some(reason) = data["kill_reason"].as_str() {
        let detail = data["kill_detail"].as_str().map(|detail| format!(" ({detail})"));
        parts.push(format!("reason {reason}{}", detail.unwrap_or_default()));
    }
    let hook = &data["webhook"];
    if let Some(id) = hook["id"].as_str() {
        let name = hook["name"].as_str().map_or_else(|| id.to_owned(), |name| format!("{name} ({id})"));
        let reason = hook["reason"].as_str().map(|reason| format!(": {reason}"));
        parts.push(format!("webhook {name}{}", reason.unwrap_or_default()));
    }
    if let Some(rule) = data["alert"]["rule"].as_str() {
        let alert = &data["alert"];
        let value = alert["value"].as_f64().map(|value| format!(" at {value}"));
        let metric =
            alert["metric"].as_str().map(|metric| format!(": {metric}{}", value.unwrap_or_default()));
        parts.push(format!("rule {rule}{}", metric.unwrap_or_default()));
    }
    for (key, word) in [("exit_code", "exit code"), ("exit_signal", "signal"), ("oom_kills", "OOM kills")] {
        if let Some(value) = data[key].as_i64().filter(|value| key != "oom_kills" || *value > 0) {
            parts.push(format!("{word} {value}"));
        }
    }
    if let Some(until) = data["set_timeout"].as_str() {
        parts.push(format!("times out at {until}"));
    }
    if let Some(ran) = data["execution"]["execution_time"].as_u64() {
        parts.push(format!("ran {}.{:03} s", ran / 1000, ran % 1000));
    }
    parts.extend(actor(data));
    printable(&parts.join(", "))
}

/// Who caused an event: `by key ci (<id>) from 10.0.0.1`, `by the server (timeout)`.
pub(super) fn actor(data: &Value) -> Option<String> {
    let actor = &data["actor"];
    if let Some(component) = actor["component"].as_str() {
        return Some(format!("by the server ({})", printable(component)));
    }
    let id = actor["id"].as_str()?;
    // Events of earlier versions have no name.
    let key = actor["name"].as_str().map_or_else(|| id.to_owned(), |name| format!("{name} ({id})"));
    let address = data["remote_address"].as_str().map(|address| format!(" from {address}"));
    Some(printable(&format!("by key {key}{}", address.unwrap_or_default())))
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
            event_data: Some(json!({"kill_reason": "timeout", "execution": {"execution_time": 1042},
                "actor": {"type": "system", "component": "timeout"}})),
            sandbox_id: Some("i0".to_owned()),
            sequence: 1,
            timestamp: "2025-08-06T20:59:36Z".to_owned(),
            rest: serde_json::Map::new(),
        };
        assert_eq!(details(&event), "reason timeout, ran 1.042 s, by the server (timeout)");
        let shown = |data| details(&Event { event_data: Some(data), ..event.clone() });
        assert_eq!(
            shown(json!({"kill_reason": "request", "remote_address": "10.0.0.1",
                "actor": {"type": "api_key", "id": "k1", "name": "ci"}})),
            "reason request, by key ci (k1) from 10.0.0.1"
        );
        // As earlier versions recorded it.
        assert_eq!(shown(json!({"actor": {"type": "api_key", "id": "k1"}})), "by key k1");
        assert_eq!(
            shown(json!({"webhook": {"id": "w1", "name": "billing", "reason": "410 Gone"}})),
            "webhook billing (w1): 410 Gone"
        );
        let of_webhook = Event { event_type: "webhook.disabled".to_owned(), ..event.clone() };
        assert_eq!([&cells(&event)[1], &cells(&of_webhook)[1]], ["killed", "webhook.disabled"]);
        assert_eq!(wanted(&[]), ["all"]);
        assert_eq!(
            shown(json!({"alert": {"rule": "hot", "metric": "cpuPct", "value": 91.5}})),
            "rule hot: cpuPct at 91.5"
        );
        assert_eq!(moment(&event.timestamp), "2025-08-06 20:59:36.000Z");
        assert_eq!(full_name("killed"), event.event_type);
        assert_eq!(full_name("oom"), "sandbox.oom");
        assert_eq!(full_name("webhook.lagging"), "webhook.lagging");
    }
}
