//! A running server: built from a configuration, drained in order.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sandscope_api::Health;
use sandscope_config::{Config, ConfigError};
use sandscope_data_dir::{DataDir, Told};
use sandscope_model::Secret;
use sandscope_outbound::EgressGuard;
use sandscope_system::SystemClock;
use sandscope_tasks::{Failure, Tasks};
use tokio::sync::watch;

use crate::addresses::Addresses;
use crate::egress::{egress_rules, receivers_tls};
use crate::engine::Planned;
use crate::http::Tls;
use crate::parts::Parts;
use crate::ports::Ports;

/// Everything that runs. What has to end in order is in the hands of `tasks`.
pub struct Running {
    health: watch::Sender<Health>,
    tasks: Tasks,
    address: SocketAddr,
    tls: Option<Tls>,
    addresses: Addresses,
    guard: EgressGuard,
    own_ports: BTreeSet<u16>,
    _data_dir: DataDir,
    drain_timeout: Duration,
    first_key: Option<Secret>,
}

impl Running {
    /// Starts everything, over a data directory of which something may have been `told`. The address is reserved early, so that a start that must fail does so before it changed
    /// anything, but listens last, so that every client that can connect is served. The first key is made when hardly
    /// anything can fail any more: it can be printed only once.
    ///
    /// # Errors
    ///
    /// The host cannot make sandboxes, another server holds the data directory, it came from elsewhere, an address is taken, the certificate or
    /// a key cannot be used, or the store cannot be opened or written.
    pub async fn start(config: &Config, told: Told) -> anyhow::Result<Self> {
        let tasks = Tasks::new(SystemClock);
        let planned = Planned::on_this_host(&config.sandbox)?;
        let tls = config.server.tls().as_ref().map(Tls::load).transpose()?;
        let receivers = receivers_tls(config).await?;
        // First, as a busy port must not leave a directory behind. That another server runs over the same one says more.
        let ports = Ports::reserve(config, tls.as_ref())
            .map_err(|busy| DataDir::holder(&config.server.data_dir).map_or(busy, anyhow::Error::from))?;
        let data_dir = DataDir::hold(&config.server.data_dir)?;
        let mut recognised = data_dir.recognise(told)?;
        if recognised.says_nothing() && Planned::is_copy(data_dir.path()) {
            recognised = recognised.as_copy(&data_dir)?;
        }
        let (addresses, own_ports) = (ports.addresses.clone(), ports.own.clone());
        let parts = Parts::start(config, (&data_dir, &recognised), planned, &tasks).await?;
        let guard = EgressGuard::with_rules(egress_rules(config, &own_ports));
        let sampler = parts.sample(config);
        parts.collect_logs();
        let export = parts.export(config).await?;
        let operator = parts.operator(config, sampler, export);
        let webhooks = parts.deliver(config, &guard, receivers);
        let domain = addresses.told_domain(&config.server.domain);
        let router = parts.router(config, domain, &guard, &webhooks);
        let first_key = parts.prepare(config).await?;
        let address = ports.open(config, tls.as_ref(), router, operator, &tasks)?;
        let health = parts.end_at_drain(webhooks);
        let drain_timeout = config.server.drain_timeout;
        Ok(Self {
            health,
            tasks,
            address,
            tls,
            addresses,
            guard,
            own_ports,
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
                self.guard.replace_rules(egress_rules(&config, &self.own_ports));
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

    /// Stops everything, from the outside in, within about the configured time: see `Phase`.
    ///
    /// # Errors
    /// The [`Failure`] of a task that had failed for good, also during the drain.
    pub async fn drain(self) -> Result<(), Failure> {
        self.health.send_replace(Health::Draining);
        self.tasks.drain(self.drain_timeout).await;
        self.tasks.failure().map_or(Ok(()), Err)
    }
}
