use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use sandscope_model::{SandboxId, TeamId, TemplateId, Timestamp};

/// The sandbox or team that the telemetry is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// None where it is about the team, a template or a webhook.
    pub(crate) sandbox_id: Option<SandboxId>,
    /// Not known of a sandbox that is long gone.
    pub(crate) team_id: Option<TeamId>,
    pub(crate) template_id: Option<TemplateId>,
    pub(crate) template_name: Option<String>,
}

/// A log record, whose it is, and what we call it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) subject: Arc<Subject>,
    pub(crate) name: String,
    pub(crate) log: LogRecord,
}

/// Where everything comes from: this server.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What every resource says.
    pub(crate) attributes: Arc<Vec<KeyValue>>,
    pub(crate) scope: InstrumentationScope,
}

impl Source {
    /// Named attributes in `given` take the place of ours.
    pub(crate) fn new(scope: &str, given: &[(String, String)]) -> Self {
        let ours = [("service.name", "sandscope"), ("service.version", env!("CARGO_PKG_VERSION"))];
        let is_given = |key: &str| given.iter().any(|(name, _)| name == key);
        let mut attributes: Vec<KeyValue> =
            ours.into_iter().filter(|(key, _)| !is_given(key)).map(|(key, value)| text(key, value)).collect();
        attributes.extend(given.iter().map(|(key, value)| text(key, value)));
        let scope = InstrumentationScope {
            name: scope.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        Self { attributes: Arc::new(attributes), scope }
    }

    /// The server itself, or what it keeps: mostly a sandbox.
    pub(crate) fn resource(&self, subject: Option<&Subject>) -> Resource {
        let mut attributes = (*self.attributes).clone();
        if let Some(subject) = subject {
            let id = subject.sandbox_id.as_ref();
            attributes.extend(id.map(|id| text("sandscope.sandbox.id", id.as_str())));
            attributes.extend(subject.team_id.map(|id| text("sandscope.team.id", &id.to_string())));
            let id = subject.template_id.as_ref();
            attributes.extend(id.map(|id| text("sandscope.template.id", id.as_str())));
            let name = subject.template_name.as_ref();
            attributes.extend(name.map(|name| text("sandscope.template.name", name)));
        }
        Resource { attributes, ..Resource::default() }
    }

    /// One request with all of `records`, those of a subject together.
    pub(crate) fn request(&self, records: &[Record]) -> ExportLogsServiceRequest {
        let mut groups: Vec<(&Subject, Vec<LogRecord>)> = Vec::new();
        for record in records {
            // Few subjects take turns within a request, the latest most likely.
            match groups.iter_mut().rev().find(|(subject, _)| **subject == *record.subject) {
                Some((_, logs)) => logs.push(record.log.clone()),
                None => groups.push((&record.subject, vec![record.log.clone()])),
            }
        }
        let resource_logs = groups.into_iter().map(|(subject, log_records)| ResourceLogs {
            resource: Some(self.resource(Some(subject))),
            scope_logs: vec![ScopeLogs {
                scope: Some(self.scope.clone()),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        });
        ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
    }
}

pub(crate) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(crate) fn text(key: impl Into<String>, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// Nothing is from before 1970.
pub(crate) fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}
