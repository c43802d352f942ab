//! The effective configuration as a TOML file, secrets hidden.

use std::fmt::Write as _;

use sandscope_model::AlertSide;
use sandscope_outbound::AllowedTarget;

use super::Config;

impl Config {
    /// Every setting with its value, as a file that could be used again (but for secrets).
    pub fn show(&self) -> String {
        let Self { server, sandbox, team, webhooks, metrics, otlp, prices, log } = self;
        let mut out = String::new();
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut section = |name: &str, lines: &[(&str, String)]| {
            let _ = writeln!(out, "[{name}]");
            for (key, value) in lines {
                let _ = writeln!(out, "{key} = {value}");
            }
            let _ = writeln!(out);
        };
        let proxies: Vec<String> =
            server.trusted_proxies.iter().map(|net| quoted(&net.to_string())).collect();
        let mut lines = vec![
            ("listen", quoted(&server.listen.to_string())),
            ("data_dir", quoted(&server.data_dir.to_string_lossy())),
            ("domain", quoted(&server.domain.to_string())),
            ("dev", server.dev.to_string()),
            ("max_connections", server.max_connections.to_string()),
            ("max_event_streams", server.max_event_streams.to_string()),
            ("header_timeout_s", server.header_timeout.as_secs().to_string()),
            ("drain_timeout_s", server.drain_timeout.as_secs().to_string()),
            ("trusted_proxies", format!("[{}]", proxies.join(", "))),
        ];
        if let Some(tls) = &server.tls {
            lines.push(("tls_cert", quoted(&tls.cert.to_string_lossy())));
            lines.push(("tls_key", quoted(&tls.key.to_string_lossy())));
        }
        if server.first_api_key.is_some() {
            lines.push(("first_api_key", quoted("[secret]")));
        }
        if server.admin_token.is_some() {
            lines.push(("admin_token", quoted("[secret]")));
        }
        section("server", &lines);
        section(
            "sandbox",
            &[
                ("vcpu_count", sandbox.vcpu_count.to_string()),
                ("memory_mb", sandbox.memory_mb.to_string()),
                ("disk_mb", sandbox.disk_mb.to_string()),
                ("warm", sandbox.n_warm.to_string()),
                ("agent_check_s", sandbox.agent_check.as_secs().to_string()),
                ("reconcile_s", sandbox.reconcile.as_secs().to_string()),
            ],
        );
        section(
            "team",
            &[
                ("max_concurrent_sandboxes", team.max_concurrent_sandboxes.to_string()),
                ("max_timeout_hours", (team.max_timeout_s / 3600).to_string()),
                ("event_retention_days", team.event_retention_days.to_string()),
                ("max_webhooks", team.max_webhooks.to_string()),
            ],
        );
        let allow: Vec<String> = webhooks.allow.iter().map(|allowed| quoted(&target(allowed))).collect();
        let delays: Vec<String> =
            webhooks.retry_delays.iter().map(|wait| wait.as_secs().to_string()).collect();
        let mut lines = vec![
            ("allow", format!("[{}]", allow.join(", "))),
            ("timeout_s", webhooks.attempt_timeout.as_secs().to_string()),
            ("retry_delays_s", format!("[{}]", delays.join(", "))),
            (
                "disable_after_hours",
                webhooks.disable_after.map_or(0, |time| time.as_secs() / 3600).to_string(),
            ),
        ];
        if let Some(ports) = &webhooks.deny_ports {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            lines.push(("deny_ports", format!("[{}]", ports.join(", "))));
        }
        if let Some(proxy) = &webhooks.proxy {
            lines.push(("proxy", quoted(&proxy.to_string())));
        }
        if !webhooks.sealing_keys.is_empty() {
            lines.push(("sealing_keys", format!("[{}]", quoted("[secret]"))));
        }
        section("webhooks", &lines);
        let days = |span: std::time::Duration| (span.as_secs() / (24 * 3600)).to_string();
        let listen = metrics.operator_listen.map(|address| address.to_string()).unwrap_or_default();
        section(
            "metrics",
            &[
                ("interval_s", metrics.interval.as_secs().to_string()),
                ("retention_days", days(metrics.retention.samples)),
                ("rollup_days", days(metrics.retention.spans)),
                ("max_mb", (metrics.retention.max_bytes.unwrap_or(0) >> 20).to_string()),
                ("listen", quoted(&listen)),
                ("top_sandboxes", metrics.n_top_sandboxes.to_string()),
            ],
        );
        if let Some(otlp) = otlp {
            section("otlp", &otlp.lines());
        }
        if let Some(prices) = prices {
            section(
                "prices",
                &[
                    ("currency", quoted(&prices.currency)),
                    ("vcpu_hour", quoted(&prices.vcpu_hour.to_string())),
                    ("gib_hour", quoted(&prices.gib_hour.to_string())),
                ],
            );
        }
        for rule in &metrics.alerts {
            let side = match rule.side {
                AlertSide::Above => "above",
                AlertSide::Below => "below",
            };
            let mut lines = vec![
                ("name", quoted(&rule.name)),
                ("metric", quoted(rule.metric.as_str())),
                (side, rule.threshold.to_string()),
                ("clear", rule.clear.to_string()),
            ];
            // What counts over a time takes no time to last, and the other way round.
            lines.push(match rule.within_s {
                0 => ("for_s", rule.for_s.to_string()),
                within_s => ("within_s", within_s.to_string()),
            });
            lines.push(("by", quoted(&rule.by.to_string())));
            section("[alerts]", &lines);
        }
        section("log", &[("filter", quoted(&log.filter)), ("format", quoted(log.format.as_str()))]);
        out.truncate(out.trim_end().len());
        out
    }
}

/// As it is written in the file.
fn target(target: &AllowedTarget) -> String {
    let net = &target.net;
    match &target.ports {
        None => net.to_string(),
        Some(ports) if ports.start() == ports.end() => format!("{net}:{}", ports.start()),
        Some(ports) => format!("{net}:{}-{}", ports.start(), ports.end()),
    }
}
