//! Sandboxes' figures as OTLP metrics. The number of series is bounded: sandboxes are added up by team and template,
//! [`MAX_GROUPS`] of them, the rest as `other`; single sandboxes only the busiest, as many as the operator asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use sandscope_model::{Sandbox, SandboxId, StateName, Timestamp};
use sandscope_sampler::LivePoint;

use crate::record::{Source, Subject, nanos, text};
use crate::{OtlpStats, Signal};

/// Pairs of team and template that have series of their own.
const MAX_GROUPS: usize = 200;

/// What is told of, at one moment.
pub(crate) struct Moment<'a> {
    pub(crate) at: Timestamp,
    /// Since when the server counts.
    pub(crate) started_at: Timestamp,
    pub(crate) sandboxes: &'a [Arc<Sandbox>],
    pub(crate) points: &'a [LivePoint],
    /// Single sandboxes told of, the busiest first.
    pub(crate) n_sandboxes: usize,
    pub(crate) stats: &'a OtlpStats,
}

#[derive(Default)]
struct Group {
    n_by_state: [i64; 3],
    cpus: f64,
    memory: u64,
    cache: u64,
    disk: u64,
    n_processes: u64,
}

const STATES: [&str; 3] = ["running", "paused", "changing"];

impl Group {
    fn add(&mut self, sandbox: &Sandbox, point: Option<&LivePoint>) {
        let state = match sandbox.state.name() {
            StateName::Running => 0,
            StateName::Paused => 1,
            _ => 2,
        };
        self.n_by_state[state] += 1;
        if let Some(point) = point {
            self.cpus += cpus(point);
            self.memory += point.sample.mem_used_bytes;
            self.cache += point.sample.mem_cache_bytes;
            self.disk += point.sample.disk_used_bytes;
            self.n_processes += point.n_pids;
        }
    }
}

fn cpus(point: &LivePoint) -> f64 {
    point.sample.cpu_used_pct / 100.0 * f64::from(point.sample.cpu_count)
}

fn whole(n: u64) -> Value {
    Value::AsInt(i64::try_from(n).unwrap_or(i64::MAX))
}

/// A metric under way: what it is called, and its points.
struct Family {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    points: Vec<NumberDataPoint>,
}

impl Family {
    const fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self { name, unit, description, points: Vec::new() }
    }

    fn metric(self, data: impl FnOnce(Vec<NumberDataPoint>) -> Data) -> Metric {
        Metric {
            name: self.name.to_owned(),
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
        for ((team, template), group) in self.groups() {
            let labels = vec![text("sandscope.team.id", &team), text("sandscope.template.name", &template)];
            let point = |value| self.point(self.started_at, labels.clone(), value);
            for (state, n) in STATES.iter().zip(group.n_by_state) {
                let mut labels = labels.clone();
                labels.push(text("sandscope.sandbox.state", state));
                count.points.push(self.point(self.started_at, labels, Value::AsInt(n)));
            }
            cpu.points.push(point(Value::AsDouble(group.cpus)));
            memory.points.push(point(whole(group.memory)));
            cache.points.push(point(whole(group.cache)));
            disk.points.push(point(whole(group.disk)));
            processes.points.push(point(whole(group.n_processes)));
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

    fn groups(&self) -> BTreeMap<(String, String), Group> {
        let points: BTreeMap<&SandboxId, &LivePoint> =
            self.points.iter().map(|point| (&point.sample.sandbox_id, point)).collect();
        let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
        for sandbox in self.sandboxes {
            let mut labels = (sandbox.team_id.to_string(), template_name(sandbox));
            if groups.len() >= MAX_GROUPS && !groups.contains_key(&labels) {
                labels = ("other".to_owned(), "other".to_owned());
            }
            groups.entry(labels).or_default().add(sandbox, points.get(&sandbox.id).copied());
        }
        groups
    }

    fn of_busiest(&self, source: &Source) -> Vec<ResourceMetrics> {
        let mut points: Vec<&LivePoint> = self.points.iter().collect();
        points.sort_by(|one, other| cpus(other).total_cmp(&cpus(one)));
        points.truncate(self.n_sandboxes);
        let sandboxes: BTreeMap<&SandboxId, &Sandbox> =
            self.sandboxes.iter().map(|sandbox| (&sandbox.id, &**sandbox)).collect();
        let told = points.into_iter().filter_map(|point| {
            let sandbox = sandboxes.get(&point.sample.sandbox_id)?;
            Some(wrap(source, Some(&subject(sandbox)), self.of_sandbox(sandbox, point)))
        });
        told.collect()
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
        vec![
            family("container.cpu.usage", "{cpu}", "CPUs in use.", Value::AsDouble(cpus(point))).gauge(),
            family(
                "container.memory.working_set",
                "By",
                "Memory in use, without cache the kernel would reclaim first.",
                whole(sample.mem_used_bytes),
            )
            .level(),
            family(
                "container.memory.available",
                "By",
                "The limit without the working set.",
                free(sample.mem_total_bytes, sample.mem_used_bytes),
            )
            .level(),
            family(
                "container.filesystem.usage",
                "By",
                "Used part of the writable layer.",
                whole(sample.disk_used_bytes),
            )
            .level(),
            family(
                "container.filesystem.capacity",
                "By",
                "Size of the writable layer.",
                whole(sample.disk_total_bytes),
            )
            .level(),
            family(
                "container.filesystem.available",
                "By",
                "Free part of the writable layer.",
                free(sample.disk_total_bytes, sample.disk_used_bytes),
            )
            .level(),
            family(
                "sandscope.sandbox.process.count",
                "{process}",
                "Processes and threads.",
                whole(point.n_pids),
            )
            .level(),
            family(
                "sandscope.sandbox.oom_kills",
                "{process}",
                "Processes killed for lack of memory.",
                whole(point.n_oom_kills),
            )
            .counter(),
        ]
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

fn template_name(sandbox: &Sandbox) -> String {
    sandbox.spec.alias.clone().unwrap_or_else(|| sandbox.spec.template_id.to_string())
}

pub(crate) fn subject(sandbox: &Sandbox) -> Subject {
    Subject {
        sandbox_id: Some(sandbox.id.clone()),
        team_id: Some(sandbox.team_id),
        template_id: Some(sandbox.spec.template_id.clone()),
        template_name: sandbox.spec.alias.clone(),
    }
}
