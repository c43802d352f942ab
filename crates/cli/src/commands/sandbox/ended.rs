//! A sandbox that has ended: how, by whom, and what it did last. All of it from the event history, the samples and the
//! logs, which outlive the sandbox.

use sandscope_client::{Client, ClientError, Event, EventFilter, EventQuery, LogEntry, LogQuery, Metric};
use sandscope_console::output::{self, Paint, printable};
use sandscope_model::{Cause, Clock as _, KillReason, Timestamp, when};
use sandscope_system::SystemClock;
use serde_json::{Value, json};

use crate::arguments::Format;
use crate::commands::{events, logs};
use crate::metrics_line;

/// Events, samples and lines shown, each the newest.
const N_EVENTS: u32 = 20;
const N_SAMPLES: usize = 12;
const N_LINES: u32 = 20;

/// How long before the end samples are asked for, in seconds.
const SAMPLES_S: i64 = 300;

/// What is left of a sandbox.
#[derive(Debug)]
struct Ended {
    id: String,
    created: Option<Event>,
    killed: Option<Event>,
    /// The newest of any type, newest first.
    events: Vec<Event>,
    /// The last before the end, oldest first.
    samples: Vec<Metric>,
    /// As above.
    lines: Vec<LogEntry>,
}

/// Shows what is known of `id`, which the server does not list any more.
pub(super) async fn show(client: &Client, id: &str, format: Format) -> anyhow::Result<()> {
    let ended = read(client, id).await?;
    match format {
        Format::Json => output::line(ended.json())?,
        Format::Pretty => output::line(ended.pretty(SystemClock.now(), Paint::for_stdout()))?,
    }
    Ok(())
}

async fn read(client: &Client, id: &str) -> anyhow::Result<Ended> {
    let events = newest(client, id, N_EVENTS).await?;
    let created = client.events(&of(id, "sandbox.lifecycle.created", 1)).await?.pop();
    let killed = client.events(&of(id, "sandbox.lifecycle.killed", 1)).await?.pop();
    let ended_s = killed.as_ref().and_then(moment).map(Timestamp::as_second);
    let mut samples = client.metrics(id, ended_s.map(|at| at.saturating_sub(SAMPLES_S).max(0))).await?;
    samples.drain(..samples.len().saturating_sub(N_SAMPLES));
    let query = LogQuery { limit: N_LINES, level: Some("info".to_owned()), ..LogQuery::default() };
    let mut lines = client.logs(id, &query).await?;
    lines.reverse();
    Ok(Ended { id: id.to_owned(), created, killed, events, samples, lines })
}

/// The newest events; an error in words if the team's history knows no such sandbox.
async fn newest(client: &Client, id: &str, limit: u32) -> anyhow::Result<Vec<Event>> {
    match client.events(&of(id, events::ALL, limit)).await {
        Err(error) if is_gone(&error) => anyhow::bail!(
            "no sandbox {id}, running or ended: check the id; the API key may belong to another team, or the events of \
             this sandbox are older than the team's retention"
        ),
        other => Ok(other?),
    }
}

fn of(id: &str, types: &str, limit: u32) -> EventQuery {
    let filter = EventFilter { types: vec![types.to_owned()], ..EventFilter::default() };
    EventQuery { sandbox_id: Some(id.to_owned()), filter, limit, ..EventQuery::default() }
}

fn moment(event: &Event) -> Option<Timestamp> {
    event.timestamp.parse().ok()
}

impl Ended {
    fn json(&self) -> Value {
        let data = self.killed.as_ref().and_then(|event| event.event_data.as_ref());
        let of = |key: &str| data.map_or(Value::Null, |data| data[key].clone());
        json!({
            "sandboxID": self.id,
            "state": if self.killed.is_some() { "ended" } else { "unknown" },
            "createdAt": self.created.as_ref().map(|event| &event.timestamp),
            "endedAt": self.killed.as_ref().map(|event| &event.timestamp),
            "reason": of("kill_reason"),
            "detail": of("kill_detail"),
            "actor": of("actor"),
            "remoteAddress": of("remote_address"),
            "exitCode": of("exit_code"),
            "exitSignal": of("exit_signal"),
            "oomKills": of("oom_kills"),
            "lastSamples": of("last_samples"),
            "events": self.events,
            "samples": self.samples,
            "logs": self.lines,
        })
    }

    fn pretty(&self, now: Timestamp, paint: Paint) -> String {
        let mut text = vec![format!("Sandbox ID: {}", self.id)];
        let at = |event: &Event| {
            moment(event).map_or_else(|| event.timestamp.clone(), |at| when::with_age(at, now))
        };
        if let Some(created) = &self.created {
            let template = created.rest.get("sandboxTemplateId").and_then(Value::as_str).unwrap_or_default();
            text.push(format!("Template ID: {}", printable(template)));
            text.push(format!("Created at: {}", at(created)));
        }
        match &self.killed {
            Some(killed) => {
                text.push("State: ended".to_owned());
                text.push(format!("Ended at: {}", at(killed)));
                text.extend(end(killed));
            }
            None => text.push("State: unknown: its end is no longer, or not yet, in the history".to_owned()),
        }
        let heading = |title: &str| format!("\n{}", paint.bold(title));
        text.push(heading("Last events"));
        text.push(events::table(&self.events, now, paint));
        text.push(heading("Last samples"));
        text.extend(self.samples.iter().map(metrics_line::pretty));
        if self.samples.is_empty() {
            text.push("none: it ended before the first, or they are past their retention".to_owned());
        }
        text.push(heading("Last output"));
        text.extend(self.lines.iter().map(|line| logs::pretty(line, paint)));
        if self.lines.is_empty() {
            text.push("none".to_owned());
        }
        text.join("\n")
    }
}

/// Why, by whom, and what the kernel counted.
fn end(killed: &Event) -> Vec<String> {
    let Some(data) = &killed.event_data else { return Vec::new() };
    let reason = data["kill_reason"].as_str().unwrap_or("unknown");
    let detail = data["kill_detail"].as_str();
    let named = detail.map_or_else(|| reason.to_owned(), |detail| format!("{reason} ({detail})"));
    let mut text = vec![match meaning(reason, detail) {
        Some(meaning) => format!("Why: {}: {meaning}", printable(&named)),
        None => format!("Why: {}", printable(&named)),
    }];
    text.extend(events::actor(data).map(|actor| format!("Ended {actor}")));
    text.extend(data["request_id"].as_str().map(|id| format!("Request ID: {}", printable(id))));
    let number = |key: &str| data[key].as_i64();
    text.extend(number("exit_code").map(|code| format!("Exit code: {code}")));
    text.extend(number("exit_signal").map(|signal| format!("Exit signal: {signal}")));
    text.extend(number("oom_kills").map(|n| format!("OOM kills: {n}")));
    text.extend(number("peak_memory_bytes").map(|bytes| format!("Peak memory: {} MiB", bytes >> 20)));
    text.extend(number("cpu_time_ms").map(|ms| format!("CPU time: {}.{:03} s", ms / 1000, ms % 1000)));
    let ran = data["execution"]["execution_time"].as_u64();
    text.extend(ran.map(|ms| format!("Ran: {}.{:03} s since it last started", ms / 1000, ms % 1000)));
    text
}

/// What a reason means, in a sentence. One that is of a later server means nothing here.
fn meaning(reason: &str, detail: Option<&str>) -> Option<&'static str> {
    let cause = Cause::ALL.into_iter().find(|cause| Some(cause.as_str()) == detail);
    let reason = KillReason::ALL.into_iter().find(|one| one.as_str() == reason)?;
    Some(match (cause, reason) {
        (Some(cause), _) => meaning_of(cause),
        (None, KillReason::Request) => "a client requested it",
        (None, KillReason::Timeout) => "its timeout passed",
        (None, KillReason::Admin) => "the operator requested it",
        (None, KillReason::ResumeFailed) => "it could not be resumed",
        // The causes of these say more.
        (
            None,
            KillReason::Orphaned
            | KillReason::Crashed
            | KillReason::Oom
            | KillReason::KernelMemory
            | KillReason::AgentLost
            | KillReason::HostRestart
            | KillReason::BaseTemplateMissing
            | KillReason::Elsewhere,
        ) => return None,
    })
}

const fn meaning_of(cause: Cause) -> &'static str {
    match cause {
        Cause::AgentExited => "its first process, the agent, exited",
        Cause::AgentSignalled => "a signal that the server did not send ended the agent",
        Cause::OutOfMemory => "the kernel killed the agent for lack of memory",
        Cause::FileLocks => "its file locks took too much of the kernel's memory",
        Cause::SocketBuffers => "what waited in its sockets took too much of the kernel's memory",
        Cause::OpenFiles => "it had too many open files for the host",
        Cause::KernelMemory => "it made the kernel's own memory grow too much",
        Cause::SupervisorKilled => "its parent process on the host was killed",
        Cause::ControlGroupsRemoved => "its control groups were removed from the host",
        Cause::AgentSilent => "the agent lived but did not answer",
        Cause::Stuck => "it could be neither frozen nor thawed",
        Cause::HostRestarted => "the host restarted",
        Cause::Vanished => "nothing of it was left on the host",
        Cause::DiskMissing => "its disk was missing on the host when the server started",
        Cause::DirectoryAdopted => "the server runs over a copy; the sandbox stayed with the original",
    }
}

/// Whether `error` says that a sandbox is not listed (any more).
pub(super) fn is_gone(error: &ClientError) -> bool {
    error.status() == Some(404)
}

/// An error in words if the team's history knows no such sandbox.
pub(super) async fn check_known(client: &Client, id: &str) -> anyhow::Result<()> {
    newest(client, id, 1).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_how_by_whom_and_what_was_last() {
        let event = |kind: &str, data: Value| Event {
            id: String::new(),
            event_type: kind.to_owned(),
            event_data: Some(data),
            sandbox_id: Some("i0".to_owned()),
            sequence: 1,
            timestamp: "2026-01-31T12:00:00.25Z".to_owned(),
            rest: serde_json::Map::new(),
        };
        let killed = event(
            "sandbox.lifecycle.killed",
            json!({"kill_reason": "request", "exit_signal": 9, "oom_kills": 1, "request_id": "r-1",
                "remote_address": "192.0.2.1", "actor": {"type": "api_key", "id": "k1", "name": "ci\u{1b}[2J"},
                "execution": {"execution_time": 1042}}),
        );
        let line = LogEntry {
            timestamp: "2026-01-31T11:59:59Z".to_owned(),
            level: "info".to_owned(),
            message: "almost done".to_owned(),
            fields: [("stream".to_owned(), "stdout".to_owned())].into_iter().collect(),
        };
        let (id, events) = ("i0".to_owned(), vec![killed.clone()]);
        let (killed, samples, lines) = (Some(killed), Vec::new(), vec![line]);
        let ended = Ended { id, created: None, killed, events, samples, lines };
        let text = ended.pretty("2026-01-31T12:05:00Z".parse().unwrap(), Paint::none());
        insta::assert_snapshot!(text, @r"
        Sandbox ID: i0
        State: ended
        Ended at: 2026-01-31 12:00:00Z (4m 59s ago)
        Why: request: a client requested it
        Ended by key ci\u{1b}[2J (k1) from 192.0.2.1
        Request ID: r-1
        Exit signal: 9
        OOM kills: 1
        Ran: 1.042 s since it last started

        Last events
        TIME                      AGE         EVENT   SANDBOX  DETAILS
        2026-01-31 12:00:00.250Z  4m 59s ago  killed  i0       reason request, signal 9, OOM kills 1, ran 1.042 s, by key ci\u{1b}[2J (k1) from 192.0.2.1

        Last samples
        none: it ended before the first, or they are past their retention

        Last output
        2026-01-31 11:59:59.000Z  INFO   stdout        almost done
        ");
        let json = ended.json();
        assert_eq!((&json["reason"], &json["actor"]["name"]), (&json!("request"), &json!("ci\u{1b}[2J")));
    }

    #[test]
    fn every_cause_has_a_sentence_and_an_unknown_reason_none() {
        for cause in Cause::ALL {
            assert!(meaning(cause.reason().as_str(), Some(cause.as_str())).is_some(), "{cause:?}");
        }
        assert_eq!(meaning("crashed", None), None);
        assert_eq!(meaning("of_a_later_version", Some("agent_exited")), None);
        assert_eq!(meaning("timeout", Some("of_a_later_version")), Some("its timeout passed"));
    }
}
