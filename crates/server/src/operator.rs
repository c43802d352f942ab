//! The operator's port: `GET /metrics` for Prometheus, `GET /nodes`, `GET /reconciler`, `GET /tasks`, `GET /health`.
//! Off unless an address is given, and without a key: give it one that only the operator reaches.
//!
//! Nothing is read from the kernel for a scrape: the sandboxes' figures are the sampler's of the last second. The
//! number of series is bounded: sandboxes are added up by team and template, [`MAX_GROUPS`] of them, the rest as
//! `other`; single sandboxes only the busiest, and only as many as the operator asked for.

mod own;
mod seen;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use sandscope_alerts::AlertStats;
use sandscope_engine_namespaces::linux::KernelMemory;
use sandscope_lifecycle::{Lifecycle, Reconciled};
use sandscope_model::{Clock, MetricField as F, MetricKind, MetricUnit};
use sandscope_sampler::{
    FLEET_STATES, FleetGroup, Live, LivePoint, MAX_GROUPS, SamplerStats, busiest, fleet,
};
use sandscope_store::{Store, StoreError};
use sandscope_tasks::Tasks;
use sandscope_telemetry::exposition::{CONTENT_TYPE, Exposition, Kind};
use sandscope_webhooks::DeliveryStats;
use sandscope_wire::node::{NodeView, ReconcilerView};
use tokio::sync::watch;

use super::node::{self, Node};

pub(crate) use seen::Seen;

use super::export::ExportFigures;
use super::requests::Requests;

/// So long after its reading a point is no longer the present.
const MAX_AGE: Duration = Duration::from_secs(5);

/// What the port reports.
pub(crate) struct Operator {
    pub(crate) node: Arc<Node>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) engine: Arc<dyn sandscope_engine::Engine>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Live,
    pub(crate) stats: Arc<SamplerStats>,
    pub(crate) alert_stats: Arc<AlertStats>,
    /// What the reconciler says of itself.
    pub(crate) reconciled: watch::Receiver<Reconciled>,
    /// What the engine's watch over the kernel's memory says of itself.
    pub(crate) kernel_memory: watch::Receiver<KernelMemory>,
    /// Single sandboxes reported, the busiest first.
    pub(crate) n_sandboxes: usize,
    pub(crate) started_at: jiff::Timestamp,
    /// The export, if there is one.
    pub(crate) export: Option<ExportFigures>,
    /// What must never end.
    pub(crate) tasks: Tasks,
    /// Requests to both planes.
    pub(crate) requests: Arc<Requests>,
    /// Attempts to deliver to webhooks.
    pub(crate) delivery_stats: Arc<DeliveryStats>,
    /// Groups of sandboxes that were reported once.
    pub(crate) seen: Seen,
}

/// The port's routes.
pub(crate) fn router(operator: Operator) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/reconciler", get(reconciler))
        .route("/nodes", get(nodes))
        .route("/nodes/{nodeID}", get(node))
        .route("/tasks", get(watched::tasks))
        .route("/health", get(watched::health))
        .with_state(Arc::new(operator))
}

async fn metrics(State(operator): State<Arc<Operator>>) -> Response {
    let begun = Instant::now();
    let mut text = Exposition::default();
    operator.sandboxes(&mut text);
    operator.sampler(&mut text);
    operator.own(&mut text);
    operator.requests.families(&mut text);
    watched::families(&operator.tasks, &mut text);
    process(&mut text, operator.started_at);
    if let Some(export) = &operator.export {
        export.write(&mut text);
    }
    if let Err(error) = operator.stored(&mut text).await {
        // What is known is reported all the same; the missing families show what failed.
        tracing::warn!(%error, "the store cannot be asked for its figures");
    }
    text.family("sandscope_scrape_duration_seconds", Kind::Gauge, "Time it took to answer this scrape.")
        .sample(&[], begun.elapsed().as_secs_f64());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.finish()).into_response()
}

async fn reconciler(State(operator): State<Arc<Operator>>) -> Json<ReconcilerView> {
    Json(node::reconciler(&operator.reconciled.borrow()))
}

async fn nodes(State(operator): State<Arc<Operator>>) -> Json<[NodeView; 1]> {
    Json([operator.node.view()])
}

async fn node(State(operator): State<Arc<Operator>>, Path(id): Path<String>) -> Response {
    let node = operator.node.view();
    if node.id == id { Json(node).into_response() } else { StatusCode::NOT_FOUND.into_response() }
}

#[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^52")]
fn float(n: u64) -> f64 {
    n as f64
}

impl Operator {
    fn sandboxes(&self, text: &mut Exposition) {
        let points = self.live.newest(self.clock.uptime(), MAX_AGE);
        let mut groups = fleet(&self.lifecycle.sandboxes(), &points);
        // A series that was there stays, with zeros.
        self.seen.keep(&mut groups);
        text.family("sandscope_sandboxes", Kind::Gauge, "Sandboxes by state.");
        for ((team, template), group) in &groups {
            for (state, n) in FLEET_STATES.iter().zip(group.n_by_state) {
                text.sample(&[("team_id", team), ("template", template), ("state", state)], f64::from(n));
            }
        }
        type Field = fn(&FleetGroup) -> f64;
        let fields: [(&'static str, &str, Field); 5] = [
            ("sandscope_sandboxes_cpu_used_cores", "CPUs in use by running sandboxes.", |group| group.cpus),
            (
                "sandscope_sandboxes_memory_used_bytes",
                "Memory in use by running sandboxes, without reclaimable cache.",
                |group| float(group.sum(F::MemUsed)),
            ),
            ("sandscope_sandboxes_memory_cache_bytes", "Page cache of running sandboxes.", |group| {
                float(group.sum(F::MemCache))
            }),
            (
                "sandscope_sandboxes_disk_used_bytes",
                "Used part of running sandboxes' writable layers.",
                |group| float(group.sum(F::DiskUsed)),
            ),
            ("sandscope_sandboxes_processes", "Processes and threads of running sandboxes.", |group| {
                float(group.sum(F::Processes))
            }),
        ];
        for (name, help, field) in fields {
            text.family(name, Kind::Gauge, help);
            for ((team, template), group) in &groups {
                text.sample(&[("team_id", team), ("template", template)], field(group));
            }
        }
        self.busiest(text, &points);
    }

    fn busiest(&self, text: &mut Exposition, points: &[LivePoint]) {
        if self.n_sandboxes == 0 {
            return;
        }
        let points = busiest(points.iter().collect(), self.n_sandboxes);
        type Field = fn(&LivePoint) -> f64;
        let fields: [(&'static str, &str, Field); 4] = [
            ("sandscope_sandbox_cpu_used_cores", "CPUs in use by a sandbox, the busiest only.", |point| {
                point.sample.cpus_used()
            }),
            (
                "sandscope_sandbox_memory_used_bytes",
                "Memory in use by a sandbox, without reclaimable cache, the busiest only.",
                |point| float(point.sample.or_zero(F::MemUsed)),
            ),
            (
                "sandscope_sandbox_disk_used_bytes",
                "Used part of a sandbox's writable layer, the busiest only.",
                |point| float(point.sample.or_zero(F::DiskUsed)),
            ),
            (
                "sandscope_sandbox_oom_kills",
                "Processes of a sandbox killed for lack of memory, the busiest only.",
                |point| float(point.sample.or_zero(F::OomKills)),
            ),
        ];
        for (name, help, field) in fields {
            text.family(name, Kind::Gauge, help);
            for point in &points {
                let id = point.sample.sandbox_id.as_str();
                text.sample(&[("sandbox_id", id)], field(point));
            }
        }
        for field in F::ALL.iter().filter(|field| field.kind() == MetricKind::Difference) {
            totals(text, &points, *field);
        }
    }

    fn sampler(&self, text: &mut Exposition) {
        let counts = self.stats.counts();
        for (name, help, count) in [
            ("sandscope_samples_stored_total", "Samples stored.", counts.n_stored),
            ("sandscope_samples_lost_total", "Samples that could not be stored.", counts.n_lost),
            ("sandscope_samples_live_total", "Points made for the last minutes.", counts.n_live),
            (
                "sandscope_readings_failed_total",
                "Readings of a sandbox's counters that failed.",
                counts.n_unreadable,
            ),
            ("sandscope_sampler_rounds_late_total", "Rounds that began over a second late.", counts.n_late),
        ] {
            text.family(name, Kind::Counter, help).sample(&[], float(count));
        }
        text.family("sandscope_sampler_busy_seconds_total", Kind::Counter, "Time the sampler's rounds took.")
            .sample(&[], float(counts.busy_usec) / 1e6);
    }

    async fn stored(&self, text: &mut Exposition) -> Result<(), StoreError> {
        let bytes = self.store.samples.sample_bytes().await?;
        text.family("sandscope_samples_file_bytes", Kind::Gauge, "Bytes in use in the samples' file.")
            .sample(&[], float(bytes));
        let teams = self.store.facts.teams().await?;
        let mut events = BTreeMap::new();
        text.family("sandscope_events_total", Kind::Counter, "Events in a team's log since its beginning.");
        for team in teams.iter().take(MAX_GROUPS) {
            let last = self.store.events.last_sequence(team.id).await?;
            events.insert(team.id, last);
            text.sample(&[("team_id", &team.id.to_string())], float(last));
        }
        let (mut n_enabled, mut n_disabled, mut lag, mut most) = (0_u32, 0_u32, 0, 0);
        for webhook in self.store.deliveries.all_webhooks().await? {
            if !webhook.enabled {
                n_disabled += 1;
                continue;
            }
            n_enabled += 1;
            let cursor = self.store.deliveries.cursor(webhook.id).await?.unwrap_or(0);
            let behind = events.get(&webhook.team_id).map_or(0, |last| last.saturating_sub(cursor));
            lag += behind;
            most = most.max(behind);
        }
        text.family("sandscope_webhooks", Kind::Gauge, "Webhooks registered.")
            .sample(&[("enabled", "true")], f64::from(n_enabled))
            .sample(&[("enabled", "false")], f64::from(n_disabled));
        text.family(
            "sandscope_webhook_lag_events",
            Kind::Gauge,
            "Events behind which enabled webhooks' cursors are: all together, and the one furthest behind.",
        )
        .sample(&[("of", "all")], float(lag))
        .sample(&[("of", "furthest")], float(most));
        self.delivery_lag(text).await
    }
}

/// The totals so far of what samples store as differences, of the busiest sandboxes; named by the catalogue.
fn totals(text: &mut Exposition, points: &[&LivePoint], field: F) {
    let entry = field.entry();
    let (name, scale) = match entry.unit {
        MetricUnit::Milliseconds => (format!("{}_seconds", entry.name.trim_end_matches("_ms")), 1e-3),
        MetricUnit::Bytes | MetricUnit::Count | MetricUnit::CentiPercent => (entry.name.to_owned(), 1.0),
    };
    let reported =
        points.iter().filter_map(|point| Some((point.sample.sandbox_id.as_str(), point.totals.get(field)?)));
    let mut reported = reported.peekable();
    if reported.peek().is_some() {
        text.family(format!("sandscope_sandbox_{name}_total"), Kind::Counter, entry.doc);
        for (id, total) in reported {
            text.sample(&[("sandbox_id", id)], float(total) * scale);
        }
    }
}

/// The server's own process, under the names every exporter uses.
fn process(text: &mut Exposition, started_at: jiff::Timestamp) {
    text.family("sandscope_build_info", Kind::Gauge, "The server's version.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.family("process_start_time_seconds", Kind::Gauge, "When the server started, in unix seconds.")
        .sample(&[], float(u64::try_from(started_at.as_second()).unwrap_or(0)));
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    if let (Some(user), Some(system), Some(pages)) = (number(11), number(12), number(21)) {
        let ticks = float(rustix::param::clock_ticks_per_second().max(1));
        text.family("process_cpu_seconds_total", Kind::Counter, "CPU time of the server.")
            .sample(&[], float(user + system) / ticks);
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        text.family("process_resident_memory_bytes", Kind::Gauge, "Memory of the server.")
            .sample(&[], float(pages * page));
    }
    if let Some(n) = open_files() {
        text.family("process_open_fds", Kind::Gauge, "Files the server holds open.").sample(&[], float(n));
    }
}

/// The directory's size since Linux 6.2, its entries before: with many sandboxes there are tens of thousands.
fn open_files() -> Option<u64> {
    let path = "/proc/self/fd";
    match std::fs::metadata(path).ok()?.len() {
        0 => u64::try_from(std::fs::read_dir(path).ok()?.count()).ok(),
        n => Some(n),
    }
}
