//! Events and log entries as OTLP log records. Keys are documented in `docs/metrics.md`.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use sandscope_model::{
    AlertChange, Event, Fact, KillReason, LogEntry, LogLevel, LogSource, Timestamp, WebhookChange,
};
use serde_json::Value as Json;

use crate::record::{Record, Subject, attribute, nanos, text};

/// What every key out of `eventData` begins with.
const DATA: &str = "sandscope.event.data";

/// An event of the log as an OTel event: a record with an event name.
pub(crate) fn event(event: &Event, now: Timestamp) -> Record {
    let severity = severity_of_event(event);
    let mut attributes = vec![
        text("sandscope.event.id", &event.id.to_string()),
        attribute("sandscope.event.sequence", whole(event.sequence)),
    ];
    if let Some(sandbox) = event.sandbox() {
        attributes.push(text("sandscope.execution.id", &sandbox.execution_id.to_string()));
        attributes.push(text("sandscope.build.id", &sandbox.build_id.to_string()));
    }
    flatten(DATA.to_owned(), &sandscope_wire::event::event_data(event), &mut attributes);
    let subject = Subject {
        sandbox_id: event.sandbox_id().cloned(),
        team_id: Some(event.team_id),
        template_id: event.template_id().cloned(),
        template_name: None,
    };
    let name = event.event_type().as_str();
    let log = LogRecord {
        time_unix_nano: nanos(event.timestamp),
        observed_time_unix_nano: nanos(now),
        severity_number: severity.into(),
        severity_text: severity_text(severity).to_owned(),
        // For who shows bodies only.
        body: Some(AnyValue { value: Some(Value::StringValue(name.to_owned())) }),
        attributes,
        event_name: name.to_owned(),
        ..LogRecord::default()
    };
    Record { subject: Arc::new(subject), name: event.id.to_string(), log }
}

/// A line of a sandbox's log.
pub(crate) fn entry(entry: &LogEntry, no: u64, subject: Arc<Subject>, now: Timestamp) -> Record {
    let severity = match entry.level {
        LogLevel::Debug => SeverityNumber::Debug,
        LogLevel::Info => SeverityNumber::Info,
        LogLevel::Warn => SeverityNumber::Warn,
        LogLevel::Error => SeverityNumber::Error,
    };
    let (source, stream) = match entry.source {
        LogSource::Stdout => ("stdout", Some("stdout")),
        LogSource::Stderr => ("stderr", Some("stderr")),
        LogSource::Terminal => ("terminal", None),
        LogSource::Exit => ("exit", None),
        LogSource::Server => ("server", None),
    };
    let mut attributes = vec![text("sandscope.log.source", source)];
    attributes.extend(stream.map(|stream| text("log.iostream", stream)));
    attributes.extend(entry.pid.map(|pid| attribute("process.pid", Value::IntValue(pid.into()))));
    attributes.extend(entry.event_type.map(|of| text("sandscope.event.type", of.as_str())));
    let log = LogRecord {
        time_unix_nano: nanos(entry.at),
        observed_time_unix_nano: nanos(now),
        severity_number: severity.into(),
        severity_text: severity_text(severity).to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(entry.message.clone())) }),
        attributes,
        ..LogRecord::default()
    };
    Record { subject, name: no.to_string(), log }
}

/// As the lines that repeat events have it: who was asked for is no trouble, who died otherwise is.
fn severity_of_event(event: &Event) -> SeverityNumber {
    match &event.fact {
        Fact::Killed(death) => match death.reason {
            KillReason::Request | KillReason::Timeout | KillReason::Admin | KillReason::Elsewhere => {
                SeverityNumber::Info
            }
            _ => SeverityNumber::Error,
        },
        Fact::Webhook { change: WebhookChange::Recovered, .. }
        | Fact::Alert { change: AlertChange::Resolved, .. } => SeverityNumber::Info,
        Fact::OutOfMemory(_) | Fact::Webhook { .. } | Fact::Alert { .. } => SeverityNumber::Warn,
        Fact::Created
        | Fact::Updated(_)
        | Fact::Paused { .. }
        | Fact::Resumed
        | Fact::Checkpointed { .. } => SeverityNumber::Info,
    }
}

const fn severity_text(severity: SeverityNumber) -> &'static str {
    match severity {
        SeverityNumber::Debug => "DEBUG",
        SeverityNumber::Warn => "WARN",
        SeverityNumber::Error => "ERROR",
        _ => "INFO",
    }
}

fn whole(n: u64) -> Value {
    Value::IntValue(i64::try_from(n).unwrap_or(i64::MAX))
}

/// Every leaf with its path; what is not known has no key.
fn flatten(path: String, value: &Json, into: &mut Vec<KeyValue>) {
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                flatten(format!("{path}.{key}"), value, into);
            }
        }
        leaf => into.extend(leaf_value(leaf).map(|value| attribute(path, value))),
    }
}

fn leaf_value(leaf: &Json) -> Option<Value> {
    Some(match leaf {
        Json::Null => return None,
        Json::Bool(yes) => Value::BoolValue(*yes),
        Json::Number(number) => match number.as_i64() {
            Some(n) => Value::IntValue(n),
            None => Value::DoubleValue(number.as_f64()?),
        },
        Json::String(text) => Value::StringValue(text.clone()),
        Json::Array(values) => {
            let values = values.iter().map(|value| AnyValue { value: leaf_value(value) }).collect();
            Value::ArrayValue(ArrayValue { values })
        }
        // Within a list only; there is none.
        Json::Object(_) => Value::StringValue(leaf.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_event_says_is_flat_and_what_it_does_not_say_is_not_there() {
        let data = json!({
            "kill_reason": "oom",
            "execution": {"vcpu_count": 2, "started_at": "2026-01-01T00:00:00Z"},
            "sandbox_metadata": {"user": "u.1"},
            "share": 0.5, "nothing": null, "list": [1, "two"], "yes": true,
        });
        let mut attributes = Vec::new();
        flatten("d".to_owned(), &data, &mut attributes);
        let value = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute.key == key);
            found.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value)
        };
        let text = |text: &str| Some(Value::StringValue(text.to_owned()));
        assert_eq!(attributes.len(), 7);
        assert_eq!(value("d.kill_reason"), text("oom"));
        assert_eq!(value("d.execution.vcpu_count"), Some(Value::IntValue(2)));
        assert_eq!(value("d.execution.started_at"), text("2026-01-01T00:00:00Z"));
        assert_eq!(value("d.sandbox_metadata.user"), text("u.1"));
        assert_eq!(value("d.share"), Some(Value::DoubleValue(0.5)));
        assert_eq!(value("d.yes"), Some(Value::BoolValue(true)));
        assert!(matches!(value("d.list"), Some(Value::ArrayValue(list)) if list.values.len() == 2));
    }
}
