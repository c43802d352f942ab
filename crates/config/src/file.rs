//! The TOML file: the same settings in sections, each optional.

use std::path::{Path, PathBuf};

use sandscope_model::AlertGiven;
use serde::Deserialize;

use super::ConfigError;
use super::otlp::OtlpSection;
use super::settings::{PriceSettings, ServeArgs};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    server: ServerSection,
    sandbox: SandboxSection,
    team: TeamSection,
    webhooks: WebhooksSection,
    metrics: MetricsSection,
    otlp: OtlpSection,
    prices: Option<PriceSettings>,
    alerts: Option<Vec<AlertSection>>,
    log: LogSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServerSection {
    listen: Option<String>,
    data_dir: Option<PathBuf>,
    domain: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    dev: Option<bool>,
    max_connections: Option<u32>,
    max_event_streams: Option<u32>,
    header_timeout_s: Option<u32>,
    drain_timeout_s: Option<u32>,
    trusted_proxies: Option<Vec<String>>,
    first_api_key: Option<String>,
    admin_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SandboxSection {
    vcpu_count: Option<u32>,
    memory_mb: Option<u32>,
    disk_mb: Option<u32>,
    warm: Option<u32>,
    agent_check_s: Option<u32>,
    reconcile_s: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TeamSection {
    max_concurrent_sandboxes: Option<u32>,
    max_timeout_hours: Option<u32>,
    event_retention_days: Option<u16>,
    max_webhooks: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WebhooksSection {
    allow: Option<Vec<String>>,
    timeout_s: Option<u32>,
    retry_delays_s: Option<Vec<u32>>,
    disable_after_hours: Option<u32>,
    deny_ports: Option<Vec<u16>>,
    proxy: Option<String>,
    sealing_keys: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MetricsSection {
    interval_s: Option<u32>,
    retention_days: Option<u32>,
    rollup_days: Option<u32>,
    max_mb: Option<u32>,
    listen: Option<String>,
    top_sandboxes: Option<u32>,
    default_alerts: Option<bool>,
}

/// `[[alerts]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSection {
    pub(super) name: String,
    metric: String,
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    for_s: Option<u32>,
    within_s: Option<u32>,
    by: Option<String>,
}

impl AlertSection {
    pub(super) fn given(&self) -> AlertGiven {
        let Self { name, metric, above, below, clear, for_s, within_s, by } = self.clone();
        AlertGiven { name, metric, above, below, clear, for_s, within_s, by }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogSection {
    filter: Option<String>,
    format: Option<String>,
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<ServeArgs, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    parse(&text).map_err(|message| ConfigError::Malformed { path: path.to_owned(), message })
}

/// What `text` says. The error names the key and the line.
pub(super) fn parse(text: &str) -> Result<ServeArgs, String> {
    // The error's own text would quote the line, and the line may hold a key; its message and position do not.
    let File { server, sandbox, team, webhooks, metrics, otlp, prices, alerts, log } = toml::from_str(text)
        .map_err(|error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        format!("line {line}: {}", error.message())
    })?;
    Ok(ServeArgs {
        config: None,
        listen: server.listen,
        data_dir: server.data_dir,
        domain: server.domain,
        tls_cert: server.tls_cert,
        tls_key: server.tls_key,
        dev: server.dev,
        max_connections: server.max_connections,
        max_event_streams: server.max_event_streams,
        header_timeout_s: server.header_timeout_s,
        drain_timeout_s: server.drain_timeout_s,
        trusted_proxies: server.trusted_proxies,
        first_api_key: server.first_api_key,
        admin_token: server.admin_token,
        vcpu_count: sandbox.vcpu_count,
        memory_mb: sandbox.memory_mb,
        disk_mb: sandbox.disk_mb,
        warm_sandboxes: sandbox.warm,
        agent_check_s: sandbox.agent_check_s,
        reconcile_s: sandbox.reconcile_s,
        max_concurrent_sandboxes: team.max_concurrent_sandboxes,
        max_timeout_hours: team.max_timeout_hours,
        event_retention_days: team.event_retention_days,
        max_webhooks: team.max_webhooks,
        webhook_allow: webhooks.allow,
        webhook_timeout_s: webhooks.timeout_s,
        webhook_retry_delays_s: webhooks.retry_delays_s,
        webhook_disable_after_hours: webhooks.disable_after_hours,
        sealing_keys: webhooks.sealing_keys,
        webhook_deny_ports: webhooks.deny_ports,
        webhook_proxy: webhooks.proxy,
        metrics_interval_s: metrics.interval_s,
        prices,
        metrics_retention_days: metrics.retention_days,
        metrics_rollup_days: metrics.rollup_days,
        metrics_max_mb: metrics.max_mb,
        operator_listen: metrics.listen,
        metrics_top_sandboxes: metrics.top_sandboxes,
        default_alerts: metrics.default_alerts,
        otlp_endpoint: None,
        otlp,
        alerts,
        log: log.filter,
        log_format: log.format,
    })
}
