//! The parts of a server, each started over those before it.
//!
//! ```text
//! store ─► engine ─► lifecycle ─► sampler, alerts, housekeeping, logs, export, webhooks ─► API and edge
//! ```
//!
//! Ownership: parts that never end belong to [`Tasks`], which also stops them in order; what is here is shared by them.
//! A start that fails half way leaves nothing but what the next start finds again.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use sandscope_alerts::{AlertOptions, AlertStats};
use sandscope_api::{ApiOptions, Health, KeyShown, LiveMetrics, StreamOptions};
use sandscope_config::{self as config, Config};
use sandscope_data_dir::sealing::{self, Sealing};
use sandscope_data_dir::{DataDir, Recognised};
use sandscope_edge::{Edge, EdgeOptions};
use sandscope_housekeeping::HousekeepingOptions;
use sandscope_lifecycle::{HealthPolicy, Lifecycle, LifecycleOptions, Reconciled, Upkeep};
use sandscope_logs::LogsOptions;
use sandscope_model::{Cause, Clock, Entropy, EventId, Secret};
use sandscope_outbound::{EgressGuard, Tls};
use sandscope_sampler::{Live, SamplerOptions, SamplerStats};
use sandscope_store::{Home, Store, StoreError, StoreOptions};
use sandscope_system::{OsEntropy, SystemClock};
use sandscope_tasks::{Phase, Tasks};
use sandscope_webhooks::{DeliveryStats, RetryPolicy, Webhooks, WebhooksOptions};
use tokio::sync::watch;

use crate::bootstrap;
use crate::engine::{Engine, Planned};
use crate::export::{self, ExportFigures};
use crate::node::Node;
use crate::operator::{Operator, Seen};
use crate::requests::{self, Requests};
use crate::retention;

/// What the rest of a server is built from.
pub(crate) struct Parts {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    tasks: Tasks,
    store: Store,
    engine: Engine,
    lifecycle: Lifecycle,
    reconciled: watch::Receiver<Reconciled>,
    live: Live,
    health: watch::Sender<Health>,
    node: Arc<Node>,
    requests: Arc<Requests>,
    delivery_stats: Arc<DeliveryStats>,
    /// Nothing is delivered or exported: the directory was adopted, and nobody has said that it is to.
    is_held: bool,
}

/// What sampler and alerts say of themselves.
pub(crate) struct SamplerFigures {
    stats: Arc<SamplerStats>,
    alert_stats: Arc<AlertStats>,
}

impl Parts {
    /// Opens the store, starts the engine, and takes over what the last run left.
    pub(crate) async fn start(
        config: &Config,
        (data_dir, recognised): (&DataDir, &Recognised),
        planned: Planned,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let store = open_store(config, data_dir, &clock, &entropy, tasks).await?;
        let home = recognised.settle(data_dir, &store, &*entropy).await?;
        let engine = planned.start(data_dir.path(), &home, tasks).await?;
        let lifecycle = Lifecycle::start(LifecycleOptions {
            engine: engine.engine(),
            readings: engine.readings(),
            door: engine.door(),
            facts: Arc::new(store.clone()),
            admissions: Arc::new(store.clone()),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            tasks: tasks.clone(),
            missing: if home.is_adopting { Cause::DirectoryAdopted } else { Cause::Vanished },
        })
        .await
        .context("cannot take over what the last run left")?;
        let is_held =
            settle_in(&home, recognised, &store).await.context("cannot settle in the data directory")?;
        engine.try_out(lifecycle.sandboxes().len()).await?;
        let reconciled = lifecycle.keep_up(upkeep(&config.sandbox));
        let (live, health) = (Live::default(), watch::Sender::new(Health::Serving));
        let node = Arc::new(Node {
            lifecycle: lifecycle.clone(),
            live: live.clone(),
            clock: Arc::clone(&clock),
            health: health.subscribe(),
            reconciled: reconciled.clone(),
            data_dir: data_dir.path().to_owned(),
            instance_id: EventId::generate(&*entropy).to_string(),
            started_at: clock.now(),
            cpu: std::sync::Mutex::default(),
        });
        let requests = Arc::new(Requests::of(sandscope_api::routes()));
        Ok(Self {
            clock,
            entropy,
            tasks: tasks.clone(),
            store,
            engine,
            lifecycle,
            reconciled,
            live,
            health,
            node,
            requests,
            delivery_stats: Arc::default(),
            is_held,
        })
    }

    /// Starts what observes: the sampler, alerts over what it publishes, and housekeeping.
    pub(crate) fn sample(&self, config: &Config) -> SamplerFigures {
        let (stats, alert_stats) = (Arc::<SamplerStats>::default(), Arc::<AlertStats>::default());
        let suspecting = self.lifecycle.clone();
        let options = SamplerOptions {
            suspect: Some(Arc::new(move |id| suspecting.suspect(id))),
            facts: Arc::new(self.store.clone()),
            readings: self.engine.readings(),
            clock: Arc::clone(&self.clock),
            interval: config.metrics.interval,
            live: Some(self.live.clone()),
            stats: Arc::clone(&stats),
        };
        sandscope_sampler::start(options, &self.tasks);
        sandscope_system::report_clock_steps(Arc::clone(&self.clock), &self.tasks);
        let options = AlertOptions {
            rules: config.alerts.clone(),
            prices: config.prices.clone(),
            alerts: self.store.alerts.clone(),
            events: self.store.events.clone(),
            facts: self.store.facts.clone(),
            deliveries: self.store.deliveries.clone(),
            samples: self.store.samples.clone(),
            host_disk_is_short: {
                let engine = self.engine.engine();
                Arc::new(move || engine.disk().is_some_and(|disk| disk.is_short))
            },
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            live: self.live.clone(),
            stats: Arc::clone(&alert_stats),
        };
        sandscope_alerts::start(options, &self.tasks);
        let options = HousekeepingOptions {
            facts: self.store.facts.clone(),
            events: self.store.events.clone(),
            samples: self.store.samples.clone(),
            attempts: self.store.attempts.clone(),
            logs: self.store.logs.clone(),
            clock: Arc::clone(&self.clock),
            retention: retention::of(&config.metrics),
        };
        sandscope_housekeeping::start(options, &self.tasks);
        SamplerFigures { stats, alert_stats }
    }

    /// Starts the collector of sandboxes' logs.
    pub(crate) fn collect_logs(&self) {
        let options = LogsOptions {
            facts: Arc::new(self.store.clone()),
            log: self.store.events.clone(),
            readings: self.engine.readings(),
            door: self.engine.door(),
            clock: Arc::clone(&self.clock),
        };
        sandscope_logs::start(options, &self.tasks);
    }

    /// Starts the export, if one is configured.
    pub(crate) async fn export(&self, config: &Config) -> anyhow::Result<Option<ExportFigures>> {
        let Some(otlp) = config.otlp.as_ref().filter(|_| !self.is_held) else { return Ok(None) };
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        let (lifecycle, live) = (self.lifecycle.clone(), self.live.clone());
        let export = export::start(otlp, &self.store, lifecycle, live, clock, entropy, &self.tasks);
        export.await.map(Some)
    }

    /// What the operator's port shows.
    pub(crate) fn operator(
        &self,
        config: &Config,
        sampler: SamplerFigures,
        export: Option<ExportFigures>,
    ) -> Operator {
        Operator {
            node: Arc::clone(&self.node),
            lifecycle: self.lifecycle.clone(),
            engine: self.engine.engine(),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            live: self.live.clone(),
            stats: sampler.stats,
            alert_stats: sampler.alert_stats,
            reconciled: self.reconciled.clone(),
            kernel_memory: self.engine.kernel_memory(),
            n_sandboxes: config.metrics.n_top_sandboxes,
            started_at: self.clock.now(),
            export,
            tasks: self.tasks.clone(),
            requests: Arc::clone(&self.requests),
            delivery_stats: Arc::clone(&self.delivery_stats),
            seen: Seen::default(),
        }
    }

    /// Starts delivering.
    pub(crate) fn deliver(&self, config: &Config, guard: &EgressGuard, tls: Arc<Tls>) -> Webhooks {
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        let mut options =
            WebhooksOptions::new(&self.store, clock, entropy, guard.clone(), self.tasks.clone());
        options.defaults.retry = RetryPolicy {
            delays: config.webhooks.retry_delays.clone(),
            timeout: config.webhooks.attempt_timeout,
            jitter: false,
        };
        options.defaults.disable_after = config.webhooks.disable_after;
        options.is_held = self.is_held;
        options.stats = Arc::clone(&self.delivery_stats);
        options.tls = tls;
        Webhooks::start(options)
    }

    /// Both planes on one router; `domain` is the domain reported to clients for their sandboxes.
    pub(crate) fn router(
        &self,
        config: &Config,
        domain: Option<String>,
        guard: &EgressGuard,
        webhooks: &Webhooks,
    ) -> Router {
        let (url_check, tester, node) = (guard.clone(), webhooks.tester(), Arc::clone(&self.node));
        let api = sandscope_api::router(ApiOptions {
            lives: Arc::new(self.lifecycle.clone()),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            health: self.health.subscribe(),
            webhook_url_check: Arc::new(move |url| {
                url_check.check_url(url).map(drop).map_err(|error| error.to_string())
            }),
            webhook_tester: Arc::new(move |webhook| {
                let tester = tester.clone();
                Box::pin(async move { tester.test(&webhook).await })
            }),
            domain,
            prices: config.prices.clone(),
            streams: StreamOptions {
                max_per_team: config.server.max_event_streams,
                ..StreamOptions::default()
            },
            live_metrics: LiveMetrics::new(self.live.clone()),
            alert_rules: config.alerts.clone(),
            node: Arc::new(move || node.view()),
            admin_token: config.server.admin_token.clone(),
            tasks: self.tasks.clone(),
        });
        let edge = Edge::new(EdgeOptions {
            lives: Arc::new(self.lifecycle.clone()),
            clock: Arc::clone(&self.clock),
            domain: config.server.domain.name.clone(),
            admin_token: config.server.admin_token.clone(),
            key_shown: KeyShown::set_in,
            is_control_path: sandscope_api::is_control_path,
        });
        let both = sandscope_edge::serve_either(edge, api);
        both.layer(from_fn_with_state(Arc::clone(&self.requests), requests::counted))
    }

    /// Makes the first team and the shipped templates where missing; the team's key, if it was just made.
    pub(crate) async fn prepare(&self, config: &Config) -> anyhow::Result<Option<Secret>> {
        bootstrap::prepare(&self.store.facts, config, &*self.clock, &*self.entropy)
            .await
            .context("cannot prepare the first team and the shipped templates")
    }

    /// Hands over what has to end in order. Returns the switch of the server's health.
    pub(crate) fn end_at_drain(self, webhooks: Webhooks) -> watch::Sender<Health> {
        let Self { tasks, engine, lifecycle, health, .. } = self;
        tasks.at_drain(Phase::Change, |left| async move {
            if tokio::time::timeout(left, lifecycle.drain()).await.is_err() {
                tracing::warn!("transitions under way are left to the next start");
            }
        });
        tasks.at_drain(Phase::Deliver, |left| webhooks.drain(left));
        tasks.at_drain(Phase::Engine, |_| async move { engine.close().await });
        health
    }
}

/// Ends an adoption once the former place's sandboxes are ended in the log, and lets the directory deliver if told.
/// Whether deliveries are held.
async fn settle_in(home: &Home, recognised: &Recognised, store: &Store) -> Result<bool, StoreError> {
    if home.is_adopting {
        store.facts.end_adoption().await?;
    }
    if !home.holds_deliveries {
        return Ok(false);
    }
    if !recognised.delivers() {
        tracing::warn!(
            "this data directory was adopted: nothing is delivered or exported until a start with --deliver"
        );
        return Ok(true);
    }
    // In this order: what is cut short here is done again by the next start that is told.
    store.logs.pass_over_exports(store.events.ends().await?).await?;
    store.deliveries.release().await?;
    tracing::info!("what happens from now on is delivered");
    Ok(false)
}

async fn open_store(
    config: &Config,
    data_dir: &DataDir,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    tasks: &Tasks,
) -> anyhow::Result<Store> {
    let Sealing { sealer, made } = sealing::sealer(data_dir, &config.webhooks.sealing_keys, entropy)?;
    let options = StoreOptions { sealer: Some(Arc::new(sealer)), ..StoreOptions::default() };
    let store =
        Store::open_options(data_dir.path(), Arc::clone(clock), options).context("cannot open the store")?;
    watch_over(&store, tasks);
    sealing::reseal(&store.deliveries, made).await?;
    Ok(store)
}

/// Watches the store's threads, and closes it last of all.
fn watch_over(store: &Store, tasks: &Tasks) {
    for thread in store.threads() {
        tasks.watch(thread.name, Phase::Store, thread.ended());
    }
    let store = store.clone();
    tasks.at_drain(Phase::Store, |_| async move { store.close().await });
}

fn upkeep(sandbox: &config::Sandbox) -> Upkeep {
    Upkeep {
        health: HealthPolicy { interval: sandbox.agent_check, patience: sandbox.agent_check },
        reconcile_every: sandbox.reconcile,
        grace: Upkeep::default().grace.min(sandbox.reconcile),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sandscope_model::TeamLimits;
    use sandscope_store::FaultPlan;

    use super::*;

    #[tokio::test]
    async fn a_writer_of_the_store_that_ends_is_fatal_and_keeps_nobody_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let (tasks, faults) = (Tasks::new(SystemClock), FaultPlan::none());
        let store = Store::open_with(directory.path(), Arc::new(SystemClock), faults.clone()).unwrap();
        watch_over(&store, &tasks);
        assert_eq!(tasks.statuses().len(), 8);
        let team = sandscope_model::Team {
            id: sandscope_model::TeamId::generate(&OsEntropy),
            name: "Team".to_owned(),
            slug: "team".to_owned(),
            limits: TeamLimits::default(),
            created_at: Clock::now(&SystemClock),
        };
        faults.panic_in_operation();
        assert!(matches!(store.facts.create_team(team.clone()).await, Err(StoreError::Broken(_))));
        store.facts.create_team(team.clone()).await.unwrap();
        assert!(tasks.in_trouble().is_empty() && tasks.failure().is_none());

        faults.panic_at_commit();
        let other = sandscope_model::Team { slug: "other".to_owned(), ..team };
        assert_eq!(store.facts.create_team(other).await, Err(StoreError::Closed));
        let failure = tasks.failed().await.to_string();
        assert_eq!(failure, "the task store-facts-writer failed for good: it panicked: planned, at a commit");
        assert_eq!(store.facts.teams().await.unwrap().len(), 1, "reads go on");
        tasks.drain(Duration::from_secs(5)).await;
        assert_eq!(tasks.in_trouble(), ["store-facts-writer"]);
    }
}
