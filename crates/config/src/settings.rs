use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::otlp::{OtlpSection, headers_of_text};

/// Settings of the server. Each may also be given in the environment or in the file (`--config`).
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "SANDSCOPE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS", env = "SANDSCOPE_LISTEN")]
    pub listen: Option<String>,
    /// Where everything is kept [default: ./.sandscope]
    #[arg(long, value_name = "DIR", env = "SANDSCOPE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Domain of `<port>-<sandboxID>.<domain>` host names, with a port if clients use another than the one listened on
    /// [default: localhost]
    #[arg(long, value_name = "NAME[:PORT]", env = "SANDSCOPE_DOMAIN")]
    pub domain: Option<String>,
    /// Serve HTTPS with this certificate (PEM, leaf first); SIGHUP reads it again
    #[arg(long, value_name = "FILE", env = "SANDSCOPE_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "SANDSCOPE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Laptop profile: webhooks may go to loopback addresses
    #[arg(long, env = "SANDSCOPE_DEV", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub dev: Option<bool>,
    /// Connections at once [default: 4096]
    #[arg(long, value_name = "N", env = "SANDSCOPE_MAX_CONNECTIONS")]
    pub max_connections: Option<u32>,
    /// Event streams and waiting event requests of a team at once [default: 1000]
    #[arg(long, value_name = "N", env = "SANDSCOPE_MAX_EVENT_STREAMS")]
    pub max_event_streams: Option<u32>,
    /// Seconds a client may take for the head of a request [default: 30]
    #[arg(long, value_name = "SECONDS", env = "SANDSCOPE_HEADER_TIMEOUT_S")]
    pub header_timeout_s: Option<u32>,
    /// Seconds a shutdown waits for what is under way [default: 10]
    #[arg(long, value_name = "SECONDS", env = "SANDSCOPE_DRAIN_TIMEOUT_S")]
    pub drain_timeout_s: Option<u32>,
    /// Networks of proxies whose X-Forwarded-For is believed, for example 10.0.0.0/8 [default: none]
    #[arg(long, value_name = "NETWORK,…", env = "SANDSCOPE_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Option<Vec<String>>,
    /// The first team's API key, `e2b_` and 40 hexadecimal digits; drawn at random where not given. Environment or
    /// file only, as flags are visible to every process of the machine.
    #[arg(skip)]
    pub first_api_key: Option<String>,
    /// What the operator presents in X-Admin-Token to see the machine (`GET /nodes`), 16 to 256 characters; without one
    /// nobody can. Environment or file only.
    #[arg(skip)]
    pub admin_token: Option<String>,
    /// CPUs of a sandbox [default: 2]
    #[arg(long, value_name = "N", env = "SANDSCOPE_VCPU_COUNT")]
    pub vcpu_count: Option<u32>,
    /// Memory of a sandbox, in MiB [default: 512]
    #[arg(long, value_name = "MIB", env = "SANDSCOPE_MEMORY_MB")]
    pub memory_mb: Option<u32>,
    /// Writable layer of a sandbox, in MiB [default: 2454]
    #[arg(long, value_name = "MIB", env = "SANDSCOPE_DISK_MB")]
    pub disk_mb: Option<u32>,
    /// Sandboxes kept ready before anybody asks, which makes creating faster; 0 for none [default: 4]
    #[arg(long, value_name = "N", env = "SANDSCOPE_WARM_SANDBOXES")]
    pub warm_sandboxes: Option<u32>,
    /// Seconds between two questions to each agent; one silent for as long again is given up [default: 30]
    #[arg(long, value_name = "SECONDS", env = "SANDSCOPE_AGENT_CHECK_S")]
    pub agent_check_s: Option<u32>,
    /// Seconds between two comparisons of what is recorded with what is on the host [default: 300]
    #[arg(long, value_name = "SECONDS", env = "SANDSCOPE_RECONCILE_S")]
    pub reconcile_s: Option<u32>,
    /// Sandboxes of the first team at once [default: 100]
    #[arg(long, value_name = "N", env = "SANDSCOPE_MAX_CONCURRENT_SANDBOXES")]
    pub max_concurrent_sandboxes: Option<u32>,
    /// Longest timeout the first team may set, in hours [default: 24]
    #[arg(long, value_name = "HOURS", env = "SANDSCOPE_MAX_TIMEOUT_HOURS")]
    pub max_timeout_hours: Option<u32>,
    /// Days the first team's events are kept, 1 to 365 [default: 7]
    #[arg(long, value_name = "DAYS", env = "SANDSCOPE_EVENT_RETENTION_DAYS")]
    pub event_retention_days: Option<u16>,
    /// Webhooks the first team may register [default: 50]
    #[arg(long, value_name = "N", env = "SANDSCOPE_MAX_WEBHOOKS")]
    pub max_webhooks: Option<u32>,
    /// Private networks webhooks may go to all the same: 10.1.0.0/16, 10.1.2.3/32:8080 or 10.1.2.3/32:8000-8999
    #[arg(long, value_name = "NETWORK[:PORTS],…", env = "SANDSCOPE_WEBHOOK_ALLOW", value_delimiter = ',')]
    pub webhook_allow: Option<Vec<String>>,
    /// Deadline of one webhook attempt, in seconds [default: 10]
    #[arg(long, value_name = "SECONDS", env = "SANDSCOPE_WEBHOOK_TIMEOUT_S")]
    pub webhook_timeout_s: Option<u32>,
    /// Waits before the second, third … attempt, in seconds [default: 10,10,10]
    #[arg(long, value_name = "SECONDS,…", env = "SANDSCOPE_WEBHOOK_RETRY_DELAYS_S", value_delimiter = ',')]
    pub webhook_retry_delays_s: Option<Vec<u32>>,
    /// Ports webhooks do not go to, instead of the usual ones of other services
    #[arg(long, value_name = "PORT,…", env = "SANDSCOPE_WEBHOOK_DENY_PORTS", value_delimiter = ',')]
    pub webhook_deny_ports: Option<Vec<u16>>,
    /// HTTP proxy through which webhooks go: http://proxy.internal:3128
    #[arg(long, value_name = "URL", env = "SANDSCOPE_WEBHOOK_PROXY")]
    pub webhook_proxy: Option<String>,
    /// Hours without a success after which a webhook is disabled; 0 is never [default: 120]
    #[arg(long, value_name = "HOURS", env = "SANDSCOPE_WEBHOOK_DISABLE_AFTER_HOURS")]
    pub webhook_disable_after_hours: Option<u32>,
    /// Key that webhooks' secrets are sealed with, 64 hexadecimal digits, and keys that were used before; drawn at
    /// random and kept in the data directory where not given. Environment or file only.
    #[arg(skip)]
    pub sealing_keys: Option<Vec<String>>,
    /// Seconds between two samples of a sandbox's metrics [default: 5]
    #[arg(long, value_name = "SECONDS", env = "SANDSCOPE_METRICS_INTERVAL_S")]
    pub metrics_interval_s: Option<u32>,
    /// What usage costs. File only: it is a table, not a switch.
    #[arg(skip)]
    pub prices: Option<PriceSettings>,
    /// Days samples are kept [default: 7]
    #[arg(long, value_name = "DAYS", env = "SANDSCOPE_METRICS_RETENTION_DAYS")]
    pub metrics_retention_days: Option<u32>,
    /// Days the maxima and means of 30 and 300 seconds are kept [default: 30]
    #[arg(long, value_name = "DAYS", env = "SANDSCOPE_METRICS_ROLLUP_DAYS")]
    pub metrics_rollup_days: Option<u32>,
    /// Largest size of the samples' file in MiB, the oldest go first; 0 for none [default: 0]
    #[arg(long, value_name = "MIB", env = "SANDSCOPE_METRICS_MAX_MB")]
    pub metrics_max_mb: Option<u32>,
    /// Address of the operator's port: /metrics for Prometheus, without a key [default: none]
    #[arg(long, value_name = "ADDRESS", env = "SANDSCOPE_OPERATOR_LISTEN")]
    pub operator_listen: Option<String>,
    /// Busiest sandboxes that have series of their own there [default: 0]
    #[arg(long, value_name = "N", env = "SANDSCOPE_METRICS_TOP_SANDBOXES")]
    pub metrics_top_sandboxes: Option<u32>,
    /// Address of an OpenTelemetry collector that metrics, logs and events are pushed to, for example
    /// http://127.0.0.1:4318 [default: none]
    #[arg(long, value_name = "URL", env = "SANDSCOPE_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// Everything else about that; file only, but for headers, which may be in the environment.
    #[arg(skip)]
    pub otlp: OtlpSection,
    /// Rules of alerts; file only.
    #[arg(skip)]
    pub alerts: Option<Vec<super::file::AlertSection>>,
    /// Fire the alerts that are worth knowing of any sandbox [default: false]
    #[arg(long, env = "SANDSCOPE_DEFAULT_ALERTS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub default_alerts: Option<bool>,
    /// Which records are logged, for example `info,sandscope_webhooks=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "SANDSCOPE_LOG")]
    pub log: Option<String>,
    /// How records are written: auto, text or json [default: auto]
    #[arg(long, value_name = "FORMAT", env = "SANDSCOPE_LOG_FORMAT")]
    pub log_format: Option<String>,
}

/// `[prices]`: as written, unchecked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriceSettings {
    pub currency: Option<String>,
    pub vcpu_hour: Option<Number>,
    pub gib_hour: Option<Number>,
}

/// A decimal number, in quotes or not.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Text(String),
    Whole(u64),
    Decimal(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Whole(number) => number.fmt(f),
            // The shortest digits that mean this number: those that were written.
            Self::Decimal(number) => number.fmt(f),
        }
    }
}

impl ServeArgs {
    /// Adds what may be given in the environment but not as a flag.
    pub fn with_environment(mut self) -> Self {
        self.first_api_key = std::env::var("SANDSCOPE_FIRST_API_KEY").ok();
        self.admin_token = std::env::var("SANDSCOPE_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
        let keys = std::env::var("SANDSCOPE_SEALING_KEYS").ok();
        self.sealing_keys = keys.map(|keys| keys.split(',').map(ToOwned::to_owned).collect());
        let headers = std::env::var("SANDSCOPE_OTLP_HEADERS").ok();
        self.otlp.headers = headers.as_deref().map(headers_of_text);
        self
    }
}
