use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Entropy, Signal, Signals, Timestamp};
use sandscope_sampler::Live;
use sandscope_store::{EventLog, Facts, Logs, StoreError};
use sandscope_tasks::{Phase, Task, Tasks};

use crate::OtlpStats;
use crate::collector::Collector;
use crate::courier::{Courier, Shared};
use crate::events::EventPump;
use crate::logs::LogPump;
use crate::metrics::MetricPump;
use crate::record::Source;
use crate::sandboxes::Sandboxes;

/// What an export is made of.
pub struct OtlpOptions {
    /// Where events are.
    pub events: EventLog,
    /// Where logs are, and how far events and logs are exported.
    pub logs: Logs,
    /// What the sandboxes of log entries are.
    pub facts: Facts,
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
    /// Single sandboxes reported in metrics, the busiest first.
    pub n_sandboxes: usize,
    /// What every resource says of this server, beside `service.name` and `service.version` or instead.
    pub attributes: Vec<(String, String)>,
    /// Where it counts.
    pub stats: Arc<OtlpStats>,
}

/// Starts exporting, until `tasks` are drained: events and logs from where the last run got to, or from now if there
/// never was one. A drain sends what there is, without waiting for a collector that is away; events and logs that are
/// left are sent after the next start. A task that fails starts over from what is stored; metrics that wait in memory wait
/// for its next life.
///
/// # Errors
/// [`StoreError`] if the store does not say how far the last run got.
pub async fn start(options: OtlpOptions, tasks: &Tasks) -> Result<(), StoreError> {
    let OtlpOptions { events, logs, facts, clock, entropy, live, sandboxes, collector, signals, .. } =
        options;
    let started_at: Timestamp = clock.now();
    let collector = Arc::new(collector);
    let (stats, stop) = (options.stats, tasks.stopping(Phase::Export));
    let shared = Shared { collector, clock, entropy, stats, stop };
    let source = |scope: &str| Source::new(scope, &options.attributes);
    if signals.has(Signal::Events) {
        // Here as well, so that what happens from now on is exported, and a store that fails fails the start.
        logs.begin_event_export(events.ends().await?).await?;
        let courier = Courier::new(shared.clone(), Signal::Events, source("sandscope.events"));
        let logs = logs.clone();
        tasks.start(Task::restart("otlp-events", Phase::Export), move || {
            let tail = events.tail(BTreeMap::new());
            EventPump { events: events.clone(), logs: logs.clone(), courier: courier.clone(), tail }.run()
        });
    }
    if signals.has(Signal::Logs) {
        logs.begin_log_export().await?;
        let courier = Courier::new(shared.clone(), Signal::Logs, source("sandscope.logs"));
        let leaves_events_out = signals.has(Signal::Events);
        tasks.start(Task::restart("otlp-logs", Phase::Export), move || {
            let (logs, facts, courier) = (logs.clone(), facts.clone(), courier.clone());
            LogPump { logs, facts, courier, cursor: 0, leaves_events_out, subjects: HashMap::new() }.run()
        });
    }
    if signals.has(Signal::Metrics) {
        let (source, queue) = (source("sandscope.metrics"), Arc::default());
        tasks.start(Task::restart("otlp-metrics", Phase::Export), move || {
            MetricPump {
                shared: shared.clone(),
                source: source.clone(),
                live: live.clone(),
                sandboxes: sandboxes.clone(),
                interval: options.interval,
                n_sandboxes: options.n_sandboxes,
                started_at,
                queue: Arc::clone(&queue),
            }
            .run()
        });
    }
    Ok(())
}
