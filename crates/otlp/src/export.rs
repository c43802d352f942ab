use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Entropy, Timestamp};
use sandscope_sampler::Live;
use sandscope_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::OtlpStats;
use crate::collector::Collector;
use crate::courier::{Courier, Shared};
use crate::events::EventPump;
use crate::logs::LogPump;
use crate::metrics::{MetricPump, Queue};
use crate::record::Source;
use crate::sandboxes::Sandboxes;
use crate::signal::{Signal, Signals};

/// What an export is made of.
pub struct OtlpOptions {
    /// Where events and logs are, and how far each is exported.
    pub store: Store,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from.
    pub entropy: Arc<dyn Entropy>,
    /// The figures of the last second.
    pub live: Live,
    /// The sandboxes they are of.
    pub sandboxes: Sandboxes,
    /// Who gets it.
    pub collector: Collector,
    /// What it gets.
    pub signals: Signals,
    /// Between two measurements.
    pub interval: Duration,
    /// Single sandboxes told of in metrics, the busiest first.
    pub n_sandboxes: usize,
    /// What every resource says of this server, beside `service.name` and `service.version` or instead.
    pub attributes: Vec<(String, String)>,
    /// Where it counts.
    pub stats: Arc<OtlpStats>,
}

/// The export under way.
#[derive(Debug)]
pub struct Otlp {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Otlp {
    /// Starts exporting: events and logs from where the last run got to, or from now if there never was one.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not say where that is.
    pub async fn start(options: OtlpOptions) -> Result<Self, StoreError> {
        let OtlpOptions { store, clock, entropy, live, sandboxes, collector, signals, .. } = options;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let started_at: Timestamp = clock.now();
        let collector = Arc::new(collector);
        let stats = options.stats;
        let shared = Shared { collector, clock, entropy, stats, stop: stop.clone() };
        let source = |scope: &str| Source::new(scope, &options.attributes);
        if signals.has(Signal::Events) {
            let tail = store.tail(store.begin_event_export().await?);
            let courier = Courier::new(shared.clone(), Signal::Events, source("sandscope.events"));
            tasks.spawn(EventPump { store: store.clone(), courier, tail }.run());
        }
        if signals.has(Signal::Logs) {
            let cursor = store.begin_log_export().await?;
            let courier = Courier::new(shared.clone(), Signal::Logs, source("sandscope.logs"));
            let leaves_events_out = signals.has(Signal::Events);
            let subjects = HashMap::new();
            tasks.spawn(LogPump { store, courier, cursor, leaves_events_out, subjects }.run());
        }
        if signals.has(Signal::Metrics) {
            let pump = MetricPump {
                shared,
                source: source("sandscope.metrics"),
                live,
                sandboxes,
                interval: options.interval,
                n_sandboxes: options.n_sandboxes,
                started_at,
                queue: Queue::default(),
            };
            tasks.spawn(pump.run());
        }
        tasks.close();
        Ok(Self { stop, tasks })
    }

    /// Sends what there is, and ends: within `limit`, and without waiting for a collector that is away. Events and logs
    /// that are left are sent after the next start.
    pub async fn drain(self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::info!("the collector is slow; the rest is sent after the next start");
        }
    }
}
