//! The export to an OpenTelemetry collector, and what the operator's port says of it.

use std::sync::Arc;

use anyhow::Context as _;
use sandscope_lifecycle::Lifecycle;
use sandscope_model::{Clock, Entropy, Signal, Signals};
use sandscope_otlp::{Collector, OtlpCounts, OtlpOptions, OtlpStats, Sandboxes, Target};
use sandscope_sampler::Live;
use sandscope_store::Store;
use sandscope_tasks::Tasks;
use sandscope_telemetry::exposition::{Exposition, Kind};

use sandscope_config as config;

/// What is exported, and what it says about itself.
pub(crate) struct ExportFigures {
    pub(crate) stats: Arc<OtlpStats>,
    pub(crate) signals: Signals,
}

/// Starts it.
pub(crate) async fn start(
    config: &config::Otlp,
    store: &Store,
    lifecycle: Lifecycle,
    live: Live,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tasks: &Tasks,
) -> anyhow::Result<ExportFigures> {
    let stats = Arc::<OtlpStats>::default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut attributes = config.attributes.clone();
    attributes.entry("host.name".to_owned()).or_insert(host);
    let target = Target {
        endpoint: config.endpoint.clone(),
        headers: config.headers.clone(),
        ca_file: config.ca_file.clone(),
        timeout: config.timeout,
        gzip: config.gzip,
    };
    let options = OtlpOptions {
        events: store.events.clone(),
        logs: store.logs.clone(),
        facts: store.facts.clone(),
        clock,
        entropy,
        live,
        sandboxes: Sandboxes::new(move || lifecycle.sandboxes()),
        collector: Collector::new(target)?,
        signals: config.signals.clone(),
        interval: config.interval,
        n_sandboxes: config.n_sandboxes,
        attributes: attributes.into_iter().collect(),
        stats: Arc::clone(&stats),
    };
    sandscope_otlp::start(options, tasks)
        .await
        .context("cannot find out how far events and logs have been exported")?;
    tracing::info!(endpoint = config.endpoint, "pushing to an OpenTelemetry collector");
    Ok(ExportFigures { stats, signals: config.signals.clone() })
}

impl ExportFigures {
    /// Its families.
    pub(crate) fn write(&self, text: &mut Exposition) {
        type Field = fn(&OtlpCounts) -> u64;
        let families: [(&'static str, Kind, &str, Field); 5] = [
            (
                "sandscope_otlp_sent_total",
                Kind::Counter,
                "Points and records an OpenTelemetry collector has taken.",
                |counts| counts.n_sent,
            ),
            (
                "sandscope_otlp_requests_failed_total",
                Kind::Counter,
                "Requests to it that failed; most are tried again.",
                |counts| counts.n_failed,
            ),
            (
                "sandscope_otlp_rejected_total",
                Kind::Counter,
                "Points and records it refused for good.",
                |counts| counts.n_rejected,
            ),
            (
                "sandscope_otlp_dropped_total",
                Kind::Counter,
                "Points and records that were gone before they could be sent.",
                |counts| counts.n_dropped,
            ),
            (
                "sandscope_otlp_waiting",
                Kind::Gauge,
                "How far behind it is: events and log entries still to be sent, requests with metrics.",
                |counts| counts.n_waiting,
            ),
        ];
        for (name, kind, help, field) in families {
            text.family(name, kind, help);
            for signal in Signal::ALL.into_iter().filter(|signal| self.signals.has(*signal)) {
                #[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^52")]
                let value = field(&self.stats.counts(signal)) as f64;
                text.sample(&[("signal", signal.as_str())], value);
            }
        }
    }
}
