//! Sandboxes' figures as OTLP metrics. The number of series is bounded: sandboxes are added up by team and template,
//! [`MAX_GROUPS`] of them, the rest as `other`; single sandboxes only the busiest, as many as the operator asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use sandscope_model::{MetricField as F, MetricKind, MetricUnit, Sandbox, SandboxId, Signal, Timestamp};
use sandscope_sampler::{FLEET_STATES, LivePoint, busiest, fleet};

use crate::OtlpStats;
use crate::record::{Source, Subject, nanos, text};

/// What is reported, at one moment.
pub(crate) struct Moment<'a> {
    pub(crate) at: Timestamp,
    /// Since when the server counts.
    pub(crate) started_at: Timestamp,
    pub(crate) sandboxes: &'a [Arc<Sandbox>],
    pub(crate) points: &'a [LivePoint],
    /// Single sandboxes reported, the busiest first.
    pub(crate) n_sandboxes: usize,
    pub(crate) stats: &'a OtlpStats,
}

/// A total as OTLP names and counts it: without the unit in its name, and time in seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a sandbox's life stay below 2^52")]
fn total_of(field: F, total: u64) -> (&'static str, &'static str, Value) {
    let name = field.entry().name;
    match field.entry().unit {
        MetricUnit::Milliseconds => {
            (name.trim_end_matches("_ms"), "s", Value::AsDouble(total as f64 / 1_000.0))
        }
        MetricUnit::Bytes => (name.trim_end_matches("_bytes"), "By", whole(total)),
        MetricUnit::Count | MetricUnit::CentiPercent => (name, "1", whole(total)),
    }
}

fn whole(n: u64) -> Value {
    Value::AsInt(i64::try_from(n).unwrap_or(i64::MAX))
}

/// A metric under way: what it is called, and its points.
struct Family {
    name: Cow<'static, str>,
    unit: &'static str,
    description: &'static str,
    points: Vec<NumberDataPoint>,
}

impl Family {
    const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), unit, description, points: Vec::new() }
    }

    fn metric(self, data: impl FnOnce(Vec<NumberDataPoint>) -> Data) -> Metric {
        Metric {
            name: self.name.into_owned(),
            description: self.description.to_owned(),
            unit: self.unit.to_owned(),
            data: Some(data(self.points)),
            ..Metric::default()
        }
    }

    /// Not to be added up over time or sandboxes.
    fn gauge(self) -> Metric {
        self.metric(|data_points| Data::Gauge(Gauge { data_points }))
    }

    /// Goes up and down, and may be added up.
    fn level(self) -> Metric {
        self.sum(false)
    }

    /// Only grows.
    fn counter(self) -> Metric {
        self.sum(true)
    }

    fn sum(self, is_monotonic: bool) -> Metric {
        self.metric(|data_points| {
            let aggregation_temporality = AggregationTemporality::Cumulative.into();
            Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        })
    }
}

impl Moment<'_> {
    /// Everything as one request, and how many points it has.
    pub(crate) fn request(&self, source: &Source) -> (ExportMetricsServiceRequest, u64) {
        let mut resource_metrics = vec![wrap(source, None, self.of_server())];
        resource_metrics.extend(self.of_busiest(source));
        let n_points = resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        let n_points = n_points.flat_map(|scope| &scope.metrics).map(n_points_of).sum::<usize>();
        (ExportMetricsServiceRequest { resource_metrics }, u64::try_from(n_points).unwrap_or(u64::MAX))
    }

    fn point(&self, since: Timestamp, attributes: Vec<KeyValue>, value: Value) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: nanos(since),
            time_unix_nano: nanos(self.at),
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn of_server(&self) -> Vec<Metric> {
        let mut count = Family::new("sandscope.sandbox.count", "{sandbox}", "Sandboxes by state.");
        let mut cpu =
            Family::new("sandscope.sandboxes.cpu.usage", "{cpu}", "CPUs in use by running sandboxes.");
        let mut memory = Family::new(
            "sandscope.sandboxes.memory.working_set",
            "By",
            "Memory in use by running sandboxes, without reclaimable cache.",
        );
        let mut cache =
            Family::new("sandscope.sandboxes.memory.cache", "By", "Page cache of running sandboxes.");
        let mut disk = Family::new(
            "sandscope.sandboxes.filesystem.usage",
            "By",
            "Used part of running sandboxes' writable layers.",
        );
        let mut processes = Family::new(
            "sandscope.sandboxes.process.count",
            "{process}",
            "Processes and threads of running sandboxes.",
        );
        for ((team, template), group) in fleet(self.sandboxes, self.points) {
            let labels = vec![text("sandscope.team.id", &team), text("sandscope.template.name", &template)];
            let point = |value| self.point(self.started_at, labels.clone(), value);
            for (state, n) in FLEET_STATES.iter().zip(group.n_by_state) {
                let mut labels = labels.clone();
                labels.push(text("sandscope.sandbox.state", state));
                count.points.push(self.point(self.started_at, labels, Value::AsInt(n.into())));
            }
            cpu.points.push(point(Value::AsDouble(group.cpus)));
            memory.points.push(point(whole(group.sum(F::MemUsed))));
            cache.points.push(point(whole(group.sum(F::MemCache))));
            disk.points.push(point(whole(group.sum(F::DiskUsed))));
            processes.points.push(point(whole(group.sum(F::Processes))));
        }
        let mut metrics =
            vec![count.level(), cpu.gauge(), memory.level(), cache.level(), disk.level(), processes.level()];
        metrics.retain(|metric| n_points_of(metric) > 0);
        metrics.extend(self.of_export());
        metrics
    }

    fn of_export(&self) -> Vec<Metric> {
        let mut sent = Family::new("sandscope.export.sent", "{item}", "Taken by the collector.");
        let mut failed = Family::new("sandscope.export.failed", "{request}", "Requests that failed.");
        let mut rejected = Family::new("sandscope.export.rejected", "{item}", "Refused for good.");
        let mut dropped = Family::new("sandscope.export.dropped", "{item}", "Gone before they were sent.");
        let mut waiting = Family::new("sandscope.export.waiting", "{item}", "Still to be sent.");
        for signal in Signal::ALL {
            let counts = self.stats.counts(signal);
            let labels = vec![text("sandscope.export.signal", signal.as_str())];
            let point = |n| self.point(self.started_at, labels.clone(), whole(n));
            sent.points.push(point(counts.n_sent));
            failed.points.push(point(counts.n_failed));
            rejected.points.push(point(counts.n_rejected));
            dropped.points.push(point(counts.n_dropped));
            waiting.points.push(point(counts.n_waiting));
        }
        vec![sent.counter(), failed.counter(), rejected.counter(), dropped.counter(), waiting.level()]
    }

    fn of_busiest(&self, source: &Source) -> Vec<ResourceMetrics> {
        let points = busiest(self.points.iter().collect(), self.n_sandboxes);
        let sandboxes: BTreeMap<&SandboxId, &Sandbox> =
            self.sandboxes.iter().map(|sandbox| (&sandbox.id, &**sandbox)).collect();
        let reported = points.into_iter().filter_map(|point| {
            let sandbox = sandboxes.get(&point.sample.sandbox_id)?;
            Some(wrap(source, Some(&subject(sandbox)), self.of_sandbox(sandbox, point)))
        });
        reported.collect()
    }

    /// Names of the semantic conventions for containers, where there is one.
    fn of_sandbox(&self, sandbox: &Sandbox, point: &LivePoint) -> Vec<Metric> {
        let family = |name, unit, description, value| {
            let mut family = Family::new(name, unit, description);
            family.points.push(self.point(sandbox.created_at, Vec::new(), value));
            family
        };
        let sample = &point.sample;
        let free = |total: u64, used: u64| whole(total.saturating_sub(used));
        let mut metrics = vec![
            family("container.cpu.usage", "{cpu}", "CPUs in use.", Value::AsDouble(sample.cpus_used()))
                .gauge(),
            family(
                "container.memory.working_set",
                "By",
                "Memory in use, without cache the kernel would reclaim first.",
                whole(sample.or_zero(F::MemUsed)),
            )
            .level(),
            family(
                "container.memory.available",
                "By",
                "The limit without the working set.",
                free(sample.or_zero(F::MemTotal), sample.or_zero(F::MemUsed)),
            )
            .level(),
            family(
                "container.filesystem.usage",
                "By",
                "Used part of the writable layer.",
                whole(sample.or_zero(F::DiskUsed)),
            )
            .level(),
            family(
                "container.filesystem.capacity",
                "By",
                "Size of the writable layer.",
                whole(sample.or_zero(F::DiskTotal)),
            )
            .level(),
            family(
                "container.filesystem.available",
                "By",
                "Free part of the writable layer.",
                free(sample.or_zero(F::DiskTotal), sample.or_zero(F::DiskUsed)),
            )
            .level(),
            family(
                "sandscope.sandbox.process.count",
                "{process}",
                "Processes and threads.",
                whole(sample.or_zero(F::Processes)),
            )
            .level(),
            family(
                "sandscope.sandbox.oom_kills",
                "{process}",
                "Processes killed for lack of memory.",
                whole(sample.or_zero(F::OomKills)),
            )
            .counter(),
        ];
        // Totals so far of what samples store as differences, named by the catalogue.
        for (field, total) in point.totals.iter().filter(|(field, _)| field.kind() == MetricKind::Difference)
        {
            let (name, unit, value) = total_of(field, total);
            let name = format!("sandscope.sandbox.{name}");
            let description = field.entry().doc;
            let points = vec![self.point(sandbox.created_at, Vec::new(), value)];
            metrics.push(Family { name: name.into(), unit, description, points }.counter());
        }
        metrics
    }
}

fn n_points_of(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        _ => 0,
    }
}

fn wrap(source: &Source, subject: Option<&Subject>, metrics: Vec<Metric>) -> ResourceMetrics {
    ResourceMetrics {
        resource: Some(source.resource(subject)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(source.scope.clone()),
            metrics,
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    }
}

pub(crate) fn subject(sandbox: &Sandbox) -> Subject {
    Subject {
        sandbox_id: Some(sandbox.id.clone()),
        team_id: Some(sandbox.team_id),
        template_id: Some(sandbox.spec.template_id.clone()),
        template_name: sandbox.spec.alias.clone(),
    }
}
