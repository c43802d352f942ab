//! Configuration: every setting, where it comes from, and what is allowed.
//!
//! ```text
//! flags ─► environment (SANDSCOPE_…) ─► one TOML file ─► built-in default        (first one that says something wins)
//!                        └──────────────┬──────────────┘
//!                                   resolve: every rule is checked here, before anything is opened or bound
//!                                       ▼
//!                                    Config
//! ```
//!
//! Unknown keys of the file are refused, as is a file that was named but is not there.

#![warn(clippy::disallowed_methods)]

mod domain;
mod file;
mod otlp;
mod rules;
mod settings;
mod show;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use sandscope_model::{AlertRule, Prices, Secret, TeamLimits};
use sandscope_outbound::{AllowedTarget, ProxyAddress};
use sandscope_store::SampleRetention;
use sandscope_telemetry::LogFormat;

pub use domain::Domain;
pub use otlp::Otlp;
pub use rules::ConfigError;
pub use settings::ServeArgs;

/// What the server runs with: complete and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[sandbox]`: what the shipped templates give a sandbox.
    pub sandbox: Sandbox,
    /// `[team]`: limits of the first team.
    pub team: TeamLimits,
    /// `[webhooks]`
    pub webhooks: Webhooks,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[otlp]`, if anything is pushed anywhere.
    pub otlp: Option<Otlp>,
    /// `[prices]`, if there are any.
    pub prices: Option<Prices>,
    /// `[log]`
    pub log: Log,
}

/// `[server]`: what it listens on, where it keeps things, whom it lets in.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where everything lies.
    pub data_dir: PathBuf,
    /// Domain of `<port>-<sandboxID>.<domain>`.
    pub domain: Domain,
    /// Certificate and key; without, it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The laptop profile: webhooks may go to loopback.
    pub dev: bool,
    /// Connections at once.
    pub max_connections: usize,
    /// Event streams of a team at once.
    pub max_event_streams: usize,
    /// How long a client may take for a request's head.
    pub header_timeout: Duration,
    /// How long a shutdown waits for what is under way.
    pub drain_timeout: Duration,
    /// Proxies whose word on where a request came from is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The first team's key, if the operator chooses it.
    pub first_api_key: Option<Secret>,
    /// What the operator asks with, if at all.
    pub admin_token: Option<Secret>,
}

/// Where the certificate lies, each PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that lead from it to one that clients know.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[sandbox]`: what the shipped templates give a sandbox, and how sandboxes are looked after.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox {
    /// CPUs.
    pub vcpu_count: u32,
    /// Memory, in MiB.
    pub memory_mb: u32,
    /// Size of the writable layer, in MiB.
    pub disk_mb: u32,
    /// Sandboxes kept ready before anybody asks.
    pub n_warm: usize,
    /// How often each agent is asked whether it is there, and for how long it may be silent.
    pub agent_check: Duration,
    /// How often store and host are compared.
    pub reconcile: Duration,
}

/// `[webhooks]`: where deliveries may go, and how long they are tried.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Otherwise forbidden targets that are allowed.
    pub allow: Vec<AllowedTarget>,
    /// One attempt's deadline.
    pub attempt_timeout: Duration,
    /// Waits before the second, third … attempt.
    pub retry_delays: Vec<Duration>,
    /// After how long without a success a webhook is disabled; `None` is never.
    pub disable_after: Option<Duration>,
    /// What secrets are sealed with, and what they were sealed with before; empty: the data directory's own key.
    pub sealing_keys: Vec<Secret>,
    /// Ports that are not dialled, instead of the usual ones.
    pub deny_ports: Option<BTreeSet<u16>>,
    /// The proxy that connections go through.
    pub proxy: Option<ProxyAddress>,
}

/// `[metrics]`: how often samples are taken, how long they are kept, and who reads them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Between two samples of a sandbox.
    pub interval: Duration,
    /// How long samples are kept.
    pub retention: SampleRetention,
    /// Where the operator's port listens, if anywhere.
    pub operator_listen: Option<SocketAddr>,
    /// Single sandboxes it tells of.
    pub n_top_sandboxes: usize,
    /// When alerts fire.
    pub alerts: Vec<AlertRule>,
}

/// `[log]`: our own records.
#[derive(Debug, Clone)]
pub struct Log {
    /// For example `info,sandscope_webhooks=debug`.
    pub filter: String,
    /// How they are written.
    pub format: LogFormat,
}
