//! From what was said to what holds: layers merged, defaults filled in, every rule checked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use sandscope_model::{AlertBounds, AlertRule, Amount, Prices, Secret, TeamLimits};
use sandscope_outbound::{AllowedTarget, ProxyAddress};
use sandscope_store::SampleRetention;

use super::file::AlertSection;
use super::settings::{Number, PriceSettings, ServeArgs};
use super::{Config, Domain, Log, Metrics, Sandbox, Server, TlsFiles, Webhooks, file};
use sandscope_model::keys;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration file {}, {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and key, without values.
        message: String,
    },
    /// Settings break rules.
    #[error("{}", .0.join("\n"))]
    Rules(Vec<String>),
}

impl Config {
    /// What holds, given flags and environment in `args` and the file they name.
    pub fn resolve(args: ServeArgs) -> Result<Self, ConfigError> {
        let from_file = args.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        Self::merge(args, from_file)
    }

    /// As [`resolve`](Self::resolve), with the file's text at hand.
    #[cfg(test)]
    pub fn resolve_text(args: ServeArgs, text: &str) -> Result<Self, ConfigError> {
        let from_file = file::parse(text)
            .map_err(|message| ConfigError::Malformed { path: "test.toml".into(), message })?;
        Self::merge(args, from_file)
    }

    fn merge(over: ServeArgs, under: ServeArgs) -> Result<Self, ConfigError> {
        let mut rules = Rules::default();
        let default_team = TeamLimits::default();
        let server = Server {
            listen: rules
                .address("listen", over.listen.or(under.listen).as_deref().unwrap_or("127.0.0.1:3000")),
            data_dir: over.data_dir.or(under.data_dir).unwrap_or_else(|| "./.sandscope".into()),
            domain: rules.domain(over.domain.or(under.domain).as_deref().unwrap_or(Domain::LOCAL)),
            tls: rules.tls(over.tls_cert.or(under.tls_cert), over.tls_key.or(under.tls_key)),
            dev: over.dev.or(under.dev).unwrap_or(false),
            max_connections: rules.within(
                "max_connections",
                over.max_connections.or(under.max_connections),
                4096,
                1,
                1_000_000,
            ) as usize,
            max_event_streams: rules.within(
                "max_event_streams",
                over.max_event_streams.or(under.max_event_streams),
                1000,
                0,
                1_000_000,
            ) as usize,
            header_timeout: rules.seconds(
                "header_timeout_s",
                over.header_timeout_s.or(under.header_timeout_s),
                30,
                1,
                600,
            ),
            drain_timeout: rules.seconds(
                "drain_timeout_s",
                over.drain_timeout_s.or(under.drain_timeout_s),
                10,
                0,
                600,
            ),
            trusted_proxies: rules.networks(
                "trusted_proxies",
                &over.trusted_proxies.or(under.trusted_proxies).unwrap_or_default(),
            ),
            first_api_key: over.first_api_key.or(under.first_api_key).map(Secret::new),
            admin_token: over.admin_token.or(under.admin_token).map(Secret::new),
        };
        let is_token = |token: &Secret| {
            let token = token.expose();
            (16..=256).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let token_ok = server.admin_token.as_ref().is_none_or(is_token);
        rules.check(token_ok, "admin_token", "16 to 256 printable ASCII characters without spaces");
        rules.check(!server.data_dir.as_os_str().is_empty(), "data_dir", "a directory");
        let key_ok = server.first_api_key.as_ref().is_none_or(|key| keys::is_well_formed(key.expose()));
        rules.check(key_ok, "first_api_key", "e2b_ and 40 hexadecimal digits (lower case)");
        let sandbox = Sandbox {
            vcpu_count: rules.within("vcpu_count", over.vcpu_count.or(under.vcpu_count), 2, 1, 256),
            memory_mb: rules.within("memory_mb", over.memory_mb.or(under.memory_mb), 512, 128, 1_048_576),
            disk_mb: rules.within("disk_mb", over.disk_mb.or(under.disk_mb), 2454, 64, 1_048_576),
            n_warm: rules.within("warm", over.warm_sandboxes.or(under.warm_sandboxes), 4, 0, 256) as usize,
            agent_check: rules.seconds(
                "agent_check_s",
                over.agent_check_s.or(under.agent_check_s),
                30,
                1,
                3600,
            ),
            reconcile: rules.seconds("reconcile_s", over.reconcile_s.or(under.reconcile_s), 300, 1, 86_400),
        };
        let hours = over.max_timeout_hours.or(under.max_timeout_hours);
        let days = over.event_retention_days.or(under.event_retention_days).map(u32::from);
        let days =
            rules.within("event_retention_days", days, default_team.event_retention_days.into(), 1, 365);
        let team = TeamLimits {
            max_concurrent_sandboxes: rules.within(
                "max_concurrent_sandboxes",
                over.max_concurrent_sandboxes.or(under.max_concurrent_sandboxes),
                default_team.max_concurrent_sandboxes,
                1,
                1_000_000,
            ),
            max_timeout_s: rules.within(
                "max_timeout_hours",
                hours,
                default_team.max_timeout_s / 3600,
                1,
                8760,
            ) * 3600,
            event_retention_days: u16::try_from(days).unwrap_or(default_team.event_retention_days),
            max_webhooks: rules.within(
                "max_webhooks",
                over.max_webhooks.or(under.max_webhooks),
                default_team.max_webhooks,
                0,
                10_000,
            ),
        };
        let webhooks = Webhooks {
            allow: rules.targets(&over.webhook_allow.or(under.webhook_allow).unwrap_or_default()),
            attempt_timeout: rules.seconds(
                "webhook timeout_s",
                over.webhook_timeout_s.or(under.webhook_timeout_s),
                10,
                1,
                300,
            ),
            retry_delays: rules.delays(over.webhook_retry_delays_s.or(under.webhook_retry_delays_s)),
            disable_after: rules.hours_or_never(
                "webhook disable_after_hours",
                over.webhook_disable_after_hours.or(under.webhook_disable_after_hours),
                120,
                8760,
            ),
            deny_ports: over
                .webhook_deny_ports
                .or(under.webhook_deny_ports)
                .map(|ports| ports.into_iter().collect()),
            proxy: rules.proxy(over.webhook_proxy.or(under.webhook_proxy).as_deref()),
            sealing_keys: rules.sealing_keys(over.sealing_keys.or(under.sealing_keys).unwrap_or_default()),
        };
        let interval = over.metrics_interval_s.or(under.metrics_interval_s);
        let default_alerts = over.default_alerts.or(under.default_alerts).unwrap_or(false);
        let prices = over.prices.or(under.prices).and_then(|prices| rules.prices(&prices));
        let bounds = AlertBounds {
            for_s: "for_s",
            within_s: "within_s",
            retention_days: team.event_retention_days,
            has_prices: prices.is_some(),
        };
        let metrics = Metrics {
            alerts: rules.alerts(default_alerts, &over.alerts.or(under.alerts).unwrap_or_default(), &bounds),
            interval: rules.seconds("metrics interval_s", interval, 5, 1, 3600),
            retention: rules.retention(
                over.metrics_retention_days.or(under.metrics_retention_days),
                over.metrics_rollup_days.or(under.metrics_rollup_days),
                over.metrics_max_mb.or(under.metrics_max_mb),
            ),
            operator_listen: (over.operator_listen.or(under.operator_listen))
                .filter(|address| !address.is_empty())
                .map(|address| rules.address("metrics listen", &address)),
            n_top_sandboxes: rules.within(
                "metrics top_sandboxes",
                over.metrics_top_sandboxes.or(under.metrics_top_sandboxes),
                0,
                0,
                1000,
            ) as usize,
        };
        let mut otlp = over.otlp.or(under.otlp);
        otlp.endpoint = over.otlp_endpoint.or(otlp.endpoint);
        let otlp = otlp.check(&mut rules.broken);
        let filter = over.log.or(under.log).unwrap_or_else(|| "info".to_owned());
        rules.check(
            sandscope_telemetry::check_filter(&filter).is_ok(),
            "log filter",
            "a filter such as info",
        );
        let format = over.log_format.or(under.log_format);
        let format = format.as_deref().unwrap_or("auto").parse();
        rules.check(format.is_ok(), "log format", "auto, text or json");
        let log = Log { filter, format: format.unwrap_or_default() };
        rules.finish(Self { server, sandbox, team, webhooks, metrics, otlp, prices, log })
    }
}

/// Collects every broken rule, so that one look shows all of them.
#[derive(Default)]
struct Rules {
    broken: Vec<String>,
}

impl Rules {
    fn check(&mut self, holds: bool, setting: &str, wanted: &str) {
        if !holds {
            self.broken.push(format!("{setting} must be {wanted}"));
        }
    }

    fn address(&mut self, setting: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.check(false, setting, "an address with a port, for example 127.0.0.1:3000");
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn domain(&mut self, text: &str) -> Domain {
        text.parse().unwrap_or_else(|()| {
            let wanted = "a host name of letters, digits, hyphens and dots, with or without a port";
            self.check(false, "domain", wanted);
            Domain { name: Domain::LOCAL.to_owned(), port: None }
        })
    }

    fn tls(&mut self, cert: Option<PathBuf>, key: Option<PathBuf>) -> Option<TlsFiles> {
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        match (cert.filter(given), key.filter(given)) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            _ => {
                self.broken.push("tls_cert and tls_key must be given together, or neither".to_owned());
                None
            }
        }
    }

    fn within(&mut self, setting: &str, given: Option<u32>, default: u32, least: u32, most: u32) -> u32 {
        let value = given.unwrap_or(default);
        if (least..=most).contains(&value) {
            return value;
        }
        self.check(false, setting, &format!("from {least} to {most}, not {value}"));
        default
    }

    fn seconds(
        &mut self,
        setting: &str,
        given: Option<u32>,
        default: u32,
        least: u32,
        most: u32,
    ) -> Duration {
        Duration::from_secs(self.within(setting, given, default, least, most).into())
    }

    fn alerts(&mut self, defaults: bool, given: &[AlertSection], bounds: &AlertBounds) -> Vec<AlertRule> {
        let mut found = if defaults { AlertRule::defaults() } else { Vec::new() };
        // One of the same name takes the place of a shipped one.
        found.retain(|rule| given.iter().all(|section| section.name != rule.name));
        for section in given {
            match section.given().check(bounds) {
                Ok(rule) => found.push(rule),
                Err(broken) => {
                    let named = |sentence| format!("alerts `{}`: {sentence}", section.name);
                    self.broken.extend(broken.into_iter().map(named));
                }
            }
        }
        let is_repeated = |rule: &AlertRule| found.iter().filter(|other| other.name == rule.name).count() > 1;
        let repeated = found.iter().any(is_repeated);
        self.check(!repeated, "alerts name", "different for each rule");
        self.check(found.len() <= 100, "alerts", "at most 100 rules");
        found
    }

    fn retention(
        &mut self,
        days: Option<u32>,
        rollup_days: Option<u32>,
        max_mb: Option<u32>,
    ) -> SampleRetention {
        const DAY_S: u32 = 24 * 3600;
        let days = self.within("metrics retention_days", days, 7, 1, 3650);
        let rollup_days = self.within("metrics rollup_days", rollup_days, days.max(30), 1, 3650);
        self.check(rollup_days >= days, "metrics rollup_days", "no fewer than retention_days");
        let max_mb = self.within("metrics max_mb", max_mb, 0, 0, u32::MAX);
        SampleRetention {
            samples: Duration::from_secs(u64::from(days) * u64::from(DAY_S)),
            spans: Duration::from_secs(u64::from(rollup_days) * u64::from(DAY_S)),
            max_bytes: (max_mb > 0).then_some(u64::from(max_mb) << 20),
        }
    }

    fn networks(&mut self, setting: &str, given: &[String]) -> Vec<IpNet> {
        let texts = given.iter().filter(|text| !text.is_empty());
        texts.filter_map(|text| self.network(setting, text)).collect()
    }

    fn network(&mut self, setting: &str, text: &str) -> Option<IpNet> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        self.check(network.is_ok(), setting, "networks such as 10.0.0.0/8, or addresses");
        network.ok()
    }

    fn hours_or_never(
        &mut self,
        setting: &str,
        given: Option<u32>,
        default: u32,
        most: u32,
    ) -> Option<Duration> {
        let hours = self.within(setting, given, default, 0, most);
        (hours > 0).then(|| Duration::from_secs(u64::from(hours) * 3600))
    }

    fn proxy(&mut self, given: Option<&str>) -> Option<ProxyAddress> {
        let parsed = given.filter(|text| !text.is_empty())?.parse();
        self.check(parsed.is_ok(), "webhook proxy", "an address such as http://proxy.internal:3128");
        parsed.ok()
    }

    fn sealing_keys(&mut self, given: Vec<String>) -> Vec<Secret> {
        let is_key = |key: &String| key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fine = given.len() <= 10 && given.iter().all(is_key);
        self.check(fine, "webhook sealing_keys", "at most 10 keys of 64 hexadecimal digits");
        given.into_iter().map(Secret::new).collect()
    }

    fn targets(&mut self, given: &[String]) -> Vec<AllowedTarget> {
        given.iter().filter(|text| !text.is_empty()).filter_map(|text| self.target(text)).collect()
    }

    fn target(&mut self, text: &str) -> Option<AllowedTarget> {
        let target = text.parse();
        if let Err(error) = &target {
            self.broken.push(format!("webhook allow: `{text}`: {error}"));
        }
        target.ok()
    }

    /// All three or nothing: half a price table would bill half of what was used.
    fn prices(&mut self, given: &PriceSettings) -> Option<Prices> {
        let PriceSettings { currency, vcpu_hour, gib_hour } = given;
        let currency = currency.clone().unwrap_or_default();
        let is_name = (1..=16).contains(&currency.chars().count()) && !currency.chars().any(char::is_control);
        self.check(is_name, "prices currency", "a name of 1 to 16 characters");
        let vcpu_hour = self.price("prices vcpu_hour", vcpu_hour.as_ref());
        let gib_hour = self.price("prices gib_hour", gib_hour.as_ref());
        Some(Prices { currency, vcpu_hour: vcpu_hour?, gib_hour: gib_hour? })
    }

    fn price(&mut self, setting: &str, given: Option<&Number>) -> Option<Amount> {
        let amount = given.and_then(|number| number.to_string().parse().ok());
        self.check(
            amount.is_some(),
            setting,
            "an amount from 0 to 1000000 with at most 9 digits after the point",
        );
        amount
    }

    fn delays(&mut self, given: Option<Vec<u32>>) -> Vec<Duration> {
        let given = given.unwrap_or_else(|| vec![10, 10, 10]);
        self.check(given.len() <= 20, "webhook retry_delays_s", "at most 20 waits");
        self.check(
            given.iter().all(|wait| *wait <= 86_400),
            "webhook retry_delays_s",
            "waits of at most a day",
        );
        given.into_iter().map(|wait| Duration::from_secs(wait.into())).collect()
    }

    fn finish(self, config: Config) -> Result<Config, ConfigError> {
        if self.broken.is_empty() { Ok(config) } else { Err(ConfigError::Rules(self.broken)) }
    }
}
