//! A running server: built from a configuration, drained in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sandscope_api::{ApiOptions, Health, LiveMetrics, StreamOptions};
use sandscope_edge::{Edge, EdgeOptions};
use sandscope_lifecycle::{HealthPolicy, Lifecycle, LifecycleOptions, Upkeep};
use sandscope_logs::LogsOptions;
use sandscope_model::{Clock, Entropy, EventId, Secret};
use sandscope_outbound::{AllowedTarget, EgressGuard, EgressRules};
use sandscope_sampler::{AlertOptions, AlertStats, Live, SamplerOptions, SamplerStats};
use sandscope_store::{Store, StoreOptions};
use sandscope_tasks::{Failure, Phase, Tasks};
use sandscope_webhooks::{RetryPolicy, Webhooks, WebhooksOptions};
use tokio::net::TcpSocket;
use tokio::sync::watch;

use super::bootstrap;
use super::engine::Engine;
use super::export;
use super::exports::Addresses;
use super::http::{Http, Limits, Tls};
use super::node::Node;
use super::operator::{self, Operator};
use super::unread;
use sandscope_config::{self as config, Config, ConfigError};
use sandscope_data_dir::DataDir;
use sandscope_data_dir::sealing::{self, Sealing};
use sandscope_system::{OsEntropy, SystemClock};

/// Part of the drain's time that requests under way may take.
const HTTP_SHARE: f32 = 0.5;

/// Connections that wait in the kernel's queue.
const BACKLOG: u32 = 1024;

/// Connections to the operator's port, at once and waiting.
const OPERATOR_CONNECTIONS: usize = 16;
const OPERATOR_BACKLOG: u32 = 16;

/// Everything that runs. What has to end in order is in the hands of `tasks`.
pub struct Running {
    health: watch::Sender<Health>,
    tasks: Tasks,
    address: SocketAddr,
    tls: Option<Tls>,
    addresses: Addresses,
    guard: EgressGuard,
    own_port: u16,
    _data_dir: DataDir,
    drain_timeout: Duration,
    first_key: Option<Secret>,
}

impl Running {
    /// Starts everything. The address is reserved early, so that a start that must fail does so before it changed
    /// anything, but listens last, so that whoever can connect is served. The first key is made when hardly anything
    /// can fail any more: it can be printed only once.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let tasks = Tasks::new(SystemClock);
        Engine::check_host()?;
        let tls = config.server.tls().as_ref().map(Tls::load).transpose()?;
        let data_dir = DataDir::hold(&config.server.data_dir)?;
        let listen = config.server.listen;
        let socket = reserve(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let domain = &config.server.domain;
        let addresses = Addresses::of(socket.local_addr()?, domain, tls.is_some());
        if let Some(tls) = &tls {
            warn_about_names(tls, domain);
        }
        let operator_socket = config
            .metrics
            .operator_listen
            .map(|listen| reserve(listen).with_context(|| format!("cannot listen on {listen}")));
        let operator_socket = operator_socket.transpose()?;
        let Sealing { sealer, made } = sealing::sealer(&data_dir, &config.webhooks.sealing_keys, &entropy)?;
        let options = StoreOptions { sealer: Some(Arc::new(sealer)), ..StoreOptions::default() };
        let store = Store::open_options(data_dir.path(), Arc::clone(&clock), options)
            .context("cannot open the store")?;
        watch_over(&store, &tasks);
        sealing::reseal(&store, made).await?;
        let engine = Engine::start(data_dir.path(), &config.sandbox).await?;
        let lifecycle = Lifecycle::start(LifecycleOptions {
            runtime: engine.runtime(),
            store: store.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            tasks: tasks.clone(),
        })
        .await
        .context("cannot take over what the last run left")?;
        let reconciled = lifecycle.keep_up(upkeep(&config.sandbox));
        let own_port = socket.local_addr().context("cannot tell the port")?.port();
        let guard = EgressGuard::with_rules(egress_rules(config, own_port));
        let url_check = guard.clone();
        let (live, stats) = (Live::default(), Arc::<SamplerStats>::default());
        let alert_stats = Arc::<AlertStats>::default();
        let suspecting = lifecycle.clone();
        let options = SamplerOptions {
            suspect: Some(Arc::new(move |id| suspecting.suspect(id))),
            store: store.clone(),
            runtime: engine.runtime(),
            clock: Arc::clone(&clock),
            interval: config.metrics.interval,
            live: Some(live.clone()),
            retention: config.metrics.retention(),
            stats: Arc::clone(&stats),
            alerts: Some(AlertOptions {
                rules: config.alerts.clone(),
                prices: config.prices.clone(),
                store: store.clone(),
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&entropy),
                live: live.clone(),
                stats: Arc::clone(&alert_stats),
            }),
        };
        sandscope_sampler::start(options, &tasks);
        let options =
            LogsOptions { store: store.clone(), runtime: engine.runtime(), clock: Arc::clone(&clock) };
        sandscope_logs::start(options, &tasks);
        let health = watch::Sender::new(Health::Serving);
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
        let mut export = None;
        if let Some(otlp) = &config.otlp {
            let (clock, entropy) = (Arc::clone(&clock), Arc::clone(&entropy));
            let (lifecycle, live) = (lifecycle.clone(), live.clone());
            let exporting = export::start(otlp, store.clone(), lifecycle, live, clock, entropy, &tasks);
            export = Some(exporting.await?);
        }
        let operator = Operator {
            node: Arc::clone(&node),
            lifecycle: lifecycle.clone(),
            store: store.clone(),
            clock: Arc::clone(&clock),
            live: live.clone(),
            stats,
            alert_stats,
            reconciled,
            n_sandboxes: config.metrics.n_top_sandboxes,
            started_at: clock.now(),
            export,
            tasks: tasks.clone(),
        };
        let mut options = WebhooksOptions::new(
            store.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            guard.clone(),
            tasks.clone(),
        );
        options.defaults.retry = RetryPolicy {
            delays: config.webhooks.retry_delays.clone(),
            timeout: config.webhooks.attempt_timeout,
            jitter: false,
        };
        options.defaults.disable_after = config.webhooks.disable_after;
        let webhooks = Webhooks::start(options);
        let tester = webhooks.tester();

        let api = sandscope_api::router(ApiOptions {
            lifecycle: lifecycle.clone(),
            store: store.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            health: health.subscribe(),
            webhook_url_check: Arc::new(move |url| {
                url_check.check_url(url).map(drop).map_err(|error| error.to_string())
            }),
            webhook_tester: Arc::new(move |webhook| {
                let tester = tester.clone();
                Box::pin(async move { tester.test(&webhook).await })
            }),
            domain: addresses.told_domain(domain),
            prices: config.prices.clone(),
            streams: StreamOptions {
                max_per_team: config.server.max_event_streams,
                ..StreamOptions::default()
            },
            live_metrics: LiveMetrics::new(live),
            alert_rules: config.alerts.clone(),
            node: Arc::new(move || node.view()),
            admin_token: config.server.admin_token.clone(),
            tasks: tasks.clone(),
        });
        let edge = Edge::new(EdgeOptions {
            lifecycle: lifecycle.clone(),
            clock: Arc::clone(&clock),
            domain: domain.name.clone(),
        });
        let router = sandscope_edge::serve_either(edge, api);
        let first_key = bootstrap::prepare(&store, config, &*clock, &*entropy)
            .await
            .context("cannot prepare the first team and the shipped templates")?;
        let router = router.layer(axum::middleware::from_fn(unread::settle));
        let listener = socket.listen(BACKLOG).with_context(|| format!("cannot listen on {listen}"))?;
        let limits = Limits {
            max_connections: config.server.max_connections,
            header_timeout: config.server.header_timeout,
        };
        let trusted_proxies = config.server.trusted_proxies.clone();
        let http =
            Http::start(("listener", &tasks), listener, router, limits, trusted_proxies, tls.as_ref())?;
        let address = http.address();
        let drain_timeout = config.server.drain_timeout;
        // Long streams into sandboxes would take all of the time, and transitions under way need their share.
        let share = drain_timeout.mul_f32(HTTP_SHARE);
        tasks.at_drain(Phase::Listen, move |_| async move { http.drain(share).await });
        if let Some(socket) = operator_socket {
            let listener = socket.listen(OPERATOR_BACKLOG).context("cannot listen on the operator's port")?;
            let limits = Limits { max_connections: OPERATOR_CONNECTIONS, ..limits };
            let name = ("operator-listener", &tasks);
            let http = Http::start(name, listener, operator::router(operator), limits, Vec::new(), None)?;
            tracing::info!(url = format!("http://{}/metrics", http.address()), "the operator's port");
            tasks.at_drain(Phase::Listen, |_| async move { http.drain(Duration::ZERO).await });
        }
        tasks.at_drain(Phase::Change, |left| async move {
            if tokio::time::timeout(left, lifecycle.drain()).await.is_err() {
                tracing::warn!("transitions under way are left to the next start");
            }
        });
        tasks.at_drain(Phase::Deliver, |left| webhooks.drain(left));
        tasks.at_drain(Phase::Engine, |_| async move { engine.shutdown().await });
        Ok(Self {
            health,
            tasks,
            address,
            tls,
            addresses,
            guard,
            own_port,
            _data_dir: data_dir,
            drain_timeout,
            first_key,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Completes once a task has failed for good: the server has to drain and to exit with an error.
    pub async fn failed(&self) -> Failure {
        self.tasks.failed().await
    }

    /// Where clients find it.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Takes over what may change while it runs: the certificate, and of the configuration, which was read again, where
    /// webhooks may go.
    pub fn reload(&self, config: Result<Config, ConfigError>) {
        match config {
            Ok(config) => {
                self.guard.replace_rules(egress_rules(&config, self.own_port));
                tracing::info!("configuration read again; where webhooks may go follows it");
            }
            Err(error) => tracing::error!(%error, "the configuration in use stays"),
        }
        match self.tls.as_ref().map(Tls::reload) {
            None => {}
            Some(Ok(())) => tracing::info!("certificate read again; new connections get it"),
            Some(Err(error)) => tracing::error!(%error, "the certificate in use stays"),
        }
    }

    /// The first team's key, if this start made it.
    pub const fn first_key(&self) -> Option<&Secret> {
        self.first_key.as_ref()
    }

    /// Stops everything, from the outside in, within about the configured time: see [`Phase`].
    ///
    /// # Errors
    /// The [`Failure`] of a task that had failed for good, also during the drain.
    pub async fn drain(self) -> Result<(), Failure> {
        self.health.send_replace(Health::Draining);
        self.tasks.drain(self.drain_timeout).await;
        self.tasks.failure().map_or(Ok(()), Err)
    }
}

/// Watches the store's threads, and closes it last of all.
fn watch_over(store: &Store, tasks: &Tasks) {
    for thread in store.threads() {
        tasks.watch(thread.name, Phase::Store, thread.ended());
    }
    let store = store.clone();
    tasks.at_drain(Phase::Store, |_| async move { store.close().await });
}

/// A certificate for other names works for nobody who comes by these.
fn warn_about_names(tls: &Tls, domain: &config::Domain) {
    let name = &domain.name;
    let names = if domain.is_local() {
        vec![name.clone()]
    } else {
        vec![format!("api.{name}"), format!("49983-i00000000000000000000.{name}")]
    };
    for name in tls.missing(&names) {
        tracing::warn!(name, "clients will refuse the certificate for this name");
    }
}

fn upkeep(sandbox: &config::Sandbox) -> Upkeep {
    Upkeep {
        health: HealthPolicy { interval: sandbox.agent_check, patience: sandbox.agent_check },
        reconcile_every: sandbox.reconcile,
        grace: Upkeep::default().grace.min(sandbox.reconcile),
    }
}

/// Takes the address without letting anybody in yet.
fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The last server's connections may still linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Where webhooks may go.
fn egress_rules(config: &Config, own_port: u16) -> EgressRules {
    let webhooks = &config.webhooks;
    let loopback = if config.server.dev { AllowedTarget::loopback() } else { Vec::new() };
    let usual = EgressRules::default();
    EgressRules {
        allow: webhooks.allow.iter().cloned().chain(loopback).collect(),
        deny_ports: webhooks.deny_ports.clone().unwrap_or(usual.deny_ports),
        own_port: Some(own_port),
        proxy: webhooks.proxy.clone(),
    }
}

#[cfg(test)]
mod tests {
    use sandscope_model::TeamLimits;
    use sandscope_store::{FaultPlan, StoreError};

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
        assert!(matches!(store.create_team(team.clone()).await, Err(StoreError::Broken(_))));
        store.create_team(team.clone()).await.unwrap();
        assert!(tasks.in_trouble().is_empty() && tasks.failure().is_none());

        faults.panic_at_commit();
        let other = sandscope_model::Team { slug: "other".to_owned(), ..team };
        assert_eq!(store.create_team(other).await, Err(StoreError::Closed));
        let failure = tasks.failed().await.to_string();
        assert_eq!(failure, "the task store-facts-writer failed for good: it panicked: planned, at a commit");
        assert_eq!(store.teams().await.unwrap().len(), 1, "reads go on");
        tasks.drain(Duration::from_secs(5)).await;
        assert_eq!(tasks.in_trouble(), ["store-facts-writer"]);
    }
}
