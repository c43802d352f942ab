use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Entropy, Sandbox, Timestamp};
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

/// A kind of what is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Figures of sandboxes.
    Metrics,
    /// What their processes wrote.
    Logs,
    /// What happened to them.
    Events,
}

impl Signal {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Events];

    /// Its name in files and figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Events => "events",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Signal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == text).ok_or(())
    }
}

/// Which kinds are exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signals(pub Vec<Signal>);

impl Signals {
    /// Whether `signal` is.
    pub fn has(&self, signal: Signal) -> bool {
        self.0.contains(&signal)
    }
}

/// Where the sandboxes that live are asked for.
#[derive(Clone)]
pub struct Sandboxes(Arc<dyn Fn() -> Vec<Arc<Sandbox>> + Send + Sync>);

impl Sandboxes {
    /// `ask` answers with all of them, and at once.
    pub fn new(ask: impl Fn() -> Vec<Arc<Sandbox>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        (self.0)()
    }
}

impl fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sandboxes")
    }
}

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
