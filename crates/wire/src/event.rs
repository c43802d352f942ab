//! Events as answered and as sent to webhooks: one rendering, so that both say the same.
//!
//! The API answers the camelCase keys. Webhook bodies carry the same keys and their snake_case twins, because both
//! kinds of consumers exist; a webhook may ask for one spelling, or for CloudEvents. Keys inside `eventData` are snake_case in both.

use sandscope_model::{
    Actor, AlertNotice, Death, Event, EventClass, EventDraft, EventType, ExecutionSummary, Exit, ExitStatus,
    Fact, LastAndMax, Origin, PayloadStyle, SampleSummary, SubjectKey, Update, WebhookNotice,
};
use serde_json::{Map, Value, json};

use crate::alert::number;
use crate::json;
use crate::time::to_second;

/// Version of the rendering.
pub const VERSION: &str = "v2";

/// The API's rendering.
pub fn render(event: &Event) -> Value {
    Value::Object(camel_case(event, &event_data(event)))
}

/// The text of [`render`].
pub fn render_text(event: &Event) -> String {
    String::from_utf8(json::signed(&render(event))).unwrap_or_default()
}

/// The bytes sent to webhooks: what is signed is exactly this. An event without a number is a test and says so.
pub fn webhook_body(event: &Event, style: PayloadStyle) -> Vec<u8> {
    let data = event_data(event);
    let camel = camel_case(event, &data);
    let mut body = match style {
        PayloadStyle::Camel => camel,
        PayloadStyle::Snake => {
            let shared = camel.iter().filter(|(key, _)| {
                ["version", "id", "type", "timestamp", "sequence"].contains(&key.as_str())
            });
            let mut body = shared.map(|(key, value)| (key.clone(), value.clone())).collect();
            add_snake_case(&mut body, event.event_type(), &camel, data);
            body
        }
        PayloadStyle::Both => {
            let mut body = camel.clone();
            add_snake_case(&mut body, event.event_type(), &camel, data);
            body
        }
        PayloadStyle::Cloudevents => cloud_event(event, camel),
    };
    if event.is_test() {
        body.insert("test".to_owned(), json!(true));
    }
    json::signed(&Value::Object(body))
}

/// The body in the usual style of an event as the API rendered it; `None` if it is of an unknown type.
pub fn body_of_rendered(rendered: &Map<String, Value>) -> Option<Vec<u8>> {
    let event_type = rendered.get("type")?.as_str()?.parse().ok()?;
    let data = rendered.get("eventData").cloned().unwrap_or_default();
    let mut body = rendered.clone();
    add_snake_case(&mut body, event_type, rendered, data);
    Some(json::signed(&Value::Object(body)))
}

/// What `content-type` says of a body in this style.
pub const fn content_type(style: PayloadStyle) -> &'static str {
    match style {
        PayloadStyle::Both | PayloadStyle::Camel | PayloadStyle::Snake => "application/json",
        PayloadStyle::Cloudevents => "application/cloudevents+json",
    }
}

fn add_snake_case(
    body: &mut Map<String, Value>,
    event_type: EventType,
    camel: &Map<String, Value>,
    data: Value,
) {
    body.insert("event_category".to_owned(), json!(category(event_type)));
    if let Some(label) = label(event_type) {
        body.insert("event_label".to_owned(), json!(label));
    }
    if !data.is_null() {
        body.insert("event_data".to_owned(), data);
    }
    for (twin, key) in [
        ("sandbox_id", "sandboxId"),
        ("sandbox_build_id", "sandboxBuildId"),
        ("sandbox_execution_id", "sandboxExecutionId"),
        ("sandbox_template_id", "sandboxTemplateId"),
        ("sandbox_team_id", "sandboxTeamId"),
    ] {
        let value = camel.get(key).cloned().unwrap_or_default();
        body.insert(twin.to_owned(), value);
    }
}

/// The structured mode of CloudEvents 1.0.
fn cloud_event(event: &Event, data: Map<String, Value>) -> Map<String, Value> {
    let subject = event.sandbox_id().map_or_else(|| event.subject.key().to_string(), ToString::to_string);
    let fields = [
        ("specversion", json!("1.0")),
        ("id", json!(event.id)),
        ("source", json!(format!("/teams/{}/sandboxes", event.team_id))),
        ("type", json!(event.event_type().as_str())),
        ("subject", json!(subject)),
        ("time", json!(event.timestamp)),
        ("datacontenttype", json!("application/json")),
        ("data", Value::Object(data)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn camel_case(event: &Event, data: &Value) -> Map<String, Value> {
    let sandbox = event.sandbox();
    let fields = [
        ("version", json!(VERSION)),
        ("id", json!(event.id)),
        ("type", json!(event.event_type().as_str())),
        ("sequence", json!(event.sequence)),
        ("eventData", data.clone()),
        ("sandboxBuildId", json!(sandbox.map(|sandbox| sandbox.build_id))),
        ("sandboxExecutionId", json!(sandbox.map(|sandbox| sandbox.execution_id))),
        ("sandboxId", json!(event.sandbox_id())),
        ("sandboxTeamId", json!(event.team_id)),
        ("sandboxTemplateId", json!(event.template_id())),
        ("timestamp", json!(event.timestamp)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What the API shows as `eventData`: an object; `null` if the event carries nothing.
pub fn event_data(event: &EventDraft) -> Value {
    let mut fields = Map::new();
    if !event.metadata().is_empty() {
        fields.insert("sandbox_metadata".to_owned(), json!(event.metadata()));
    }
    fields.extend(fact(event));
    if let Some(origin) = &event.origin {
        fields.extend(render_origin(origin));
    }
    if fields.is_empty() { Value::Null } else { Value::Object(fields) }
}

/// The particulars of what happened.
fn fact(event: &EventDraft) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut insert = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    match &event.fact {
        Fact::Created | Fact::Resumed => {}
        Fact::Killed(death) => return render_death(death),
        Fact::Updated(Update::TimeoutMoved { end_at }) => {
            insert("set_timeout", json!(to_second(*end_at)));
        }
        Fact::Paused { execution } => {
            insert("execution", render_execution(execution));
        }
        Fact::Checkpointed { snapshot } => {
            insert("snapshot_template_id", json!(snapshot));
        }
        Fact::OutOfMemory(kills) => {
            insert("oom_kills", json!(kills.n_total));
            insert("new_oom_kills", json!(kills.n_new));
        }
        Fact::Webhook { notice, .. } => {
            insert("webhook", render_notice(notice));
        }
        Fact::Alert { notice, .. } => {
            insert("alert", render_alert(notice, &event.subject.key()));
        }
    }
    fields
}

fn render_death(death: &Death) -> Map<String, Value> {
    let Death { reason, exit, execution, last_samples } = death;
    let mut fields = exit.as_ref().map(render_exit).unwrap_or_default();
    fields.insert("kill_reason".to_owned(), json!(reason.as_str()));
    if let Some(execution) = execution {
        fields.insert("execution".to_owned(), render_execution(execution));
    }
    if let Some(samples) = last_samples {
        fields.insert("last_samples".to_owned(), render_samples(samples));
    }
    fields
}

fn render_origin(origin: &Origin) -> Map<String, Value> {
    let Origin { actor, request_id, remote_address } = origin;
    let fields = [
        ("actor", Some(render_actor(actor))),
        ("request_id", request_id.as_ref().map(|id| json!(id))),
        ("remote_address", remote_address.as_ref().map(|address| json!(address))),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn render_actor(actor: &Actor) -> Value {
    match actor {
        Actor::ApiKey { id, name: Some(name) } => json!({ "type": "api_key", "id": id, "name": name }),
        Actor::ApiKey { id, name: None } => json!({ "type": "api_key", "id": id }),
        Actor::System { component } => json!({ "type": "system", "component": component.as_str() }),
    }
}

fn render_notice(notice: &WebhookNotice) -> Value {
    json!({
        "id": notice.id,
        "name": notice.name,
        "reason": notice.reason,
        "failing_since": notice.failing_since.map(to_second),
        "failed_attempts": notice.n_failed,
        "event_id": notice.event_id,
    })
}

fn render_alert(notice: &AlertNotice, subject: &SubjectKey) -> Value {
    let mut alert = Map::new();
    let mut insert = |key: &str, value: Value| alert.insert(key.to_owned(), value);
    insert("rule", json!(notice.rule));
    if let Some(id) = notice.rule_id {
        insert("rule_id", json!(id));
    }
    insert("subject", json!(subject.to_string()));
    insert("metric", json!(notice.metric.as_str()));
    insert("threshold", json!(number(notice.threshold_milli)));
    if let Some(within_s) = notice.within_s {
        insert("within_seconds", json!(within_s));
    }
    if let Some(value) = notice.value_milli {
        insert("value", json!(number(value)));
    }
    if let Some(reason) = &notice.reason {
        insert("reason", json!(reason));
    }
    Value::Object(alert)
}

fn render_execution(execution: &ExecutionSummary) -> Value {
    json!({
        "started_at": to_second(execution.started_at),
        "vcpu_count": execution.vcpu_count,
        "memory_mb": execution.memory_mb,
        "execution_time": execution.execution_time_ms,
    })
}

/// Whatever is known; what is not has no key.
fn render_exit(exit: &Exit) -> Map<String, Value> {
    let (code, signal) = match exit.status {
        Some(ExitStatus::Code(code)) => (Some(code), None),
        Some(ExitStatus::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    let fields = [
        ("kill_detail", exit.cause.map(|cause| json!(cause.as_str()))),
        ("exit_code", code.map(|code| json!(code))),
        ("exit_signal", signal.map(|signal| json!(signal))),
        ("oom_kills", exit.n_oom_kills.map(|n| json!(n))),
        ("peak_memory_bytes", exit.peak_memory_bytes.map(|n| json!(n))),
        ("cpu_time_ms", exit.cpu_time_usec.map(|usec| json!(usec / 1000))),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn render_samples(samples: &SampleSummary) -> Value {
    let bytes = |value: LastAndMax| json!({"last": value.last, "max": value.max});
    let pct = |centi: u64| f64::from(u32::try_from(centi).unwrap_or(u32::MAX)) / 100.0;
    let cpu = samples.cpu_used_centi_pct;
    json!({
        "count": samples.n_samples,
        "from": to_second(samples.first_at),
        "to": to_second(samples.last_at),
        "cpu_used_pct": {"last": pct(cpu.last), "max": pct(cpu.max)},
        "mem_used_bytes": bytes(samples.mem_used_bytes),
        "disk_used_bytes": bytes(samples.disk_used_bytes),
    })
}

/// What the deprecated key says it is about.
const fn category(event_type: EventType) -> &'static str {
    match event_type.class() {
        EventClass::Lifecycle => "lifecycle",
        EventClass::Resource => "resource",
        EventClass::Webhook => "webhook",
        EventClass::Alert => "alert",
    }
}

/// The deprecated one-word name; checkpoints never had one.
const fn label(event_type: EventType) -> Option<&'static str> {
    match event_type {
        EventType::Created => Some("create"),
        EventType::Killed => Some("kill"),
        EventType::Paused => Some("pause"),
        EventType::Resumed => Some("resume"),
        EventType::Updated => Some("update"),
        EventType::Checkpointed | EventType::OutOfMemory => None,
        EventType::WebhookLagging => Some("lagging"),
        EventType::WebhookDisabled => Some("disabled"),
        EventType::WebhookRecovered => Some("recovered"),
        EventType::WebhookExhausted => Some("exhausted"),
        EventType::AlertFiring => Some("firing"),
        EventType::AlertResolved => Some("resolved"),
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
