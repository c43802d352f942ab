//! `[otlp]`: the collector that metrics, logs and events are pushed to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderMap;
use sandscope_model::{Signal, Signals};
use sandscope_outbound::BaseUrl;

use crate::kind::{choice, choices, labels, optional_file, optional_text, seconds, secrets, whole};
use crate::rules::Rules;
use crate::setting::{Section as _, section};

/// The collector's address, as rules say it.
const ADDRESS: &str = "a base address such as http://127.0.0.1:4318, with keys in headers only";

section! {
    /// The OpenTelemetry collector that metrics, logs and events are pushed to; without an endpoint nothing is.
    pub(crate) Exporter in "otlp" said "otlp" {
        /// Address of an OpenTelemetry collector that metrics, logs and events are pushed to, for example
        /// http://127.0.0.1:4318
        endpoint: Option<String> = optional_text(ADDRESS),
            key "endpoint", flag "otlp-endpoint" "URL", env "SANDSCOPE_OTLP_ENDPOINT";
        /// Protocol and encoding
        protocol: () = choice((), "http/protobuf, the only one spoken", protocol, |()| "http/protobuf"),
            key "protocol";
        /// Signals to push
        signals: Vec<Signal> = choices(
            Signal::ALL.to_vec(), "some of metrics, logs, events", |text| text.parse().ok(), |signal| signal.as_str(),
        ), key "signals";
        /// How requests are compressed
        gzip: bool = choice(true, "gzip or none", compression, |gzip| if *gzip { "gzip" } else { "none" }),
            key "compression";
        /// Seconds between two measurements
        interval: Duration = seconds(15, 1..=3600), key "interval_s";
        /// Deadline of one request, in seconds
        timeout: Duration = seconds(10, 1..=60), key "timeout_s";
        /// Busiest sandboxes that have series of their own
        n_sandboxes: usize = whole(0, 0..=1000).map(|n| n as usize, |n| u32::try_from(*n).unwrap_or(u32::MAX)),
            key "top_sandboxes";
        /// Authority (PEM) to trust beside the system's
        ca_file: Option<PathBuf> = optional_file(), key "ca_file";
        /// Headers of every request, for example a collector's key; in the environment `name=value,…`
        headers: HeaderMap = secrets(), key "headers", env "SANDSCOPE_OTLP_HEADERS";
        /// What every resource says of itself, for example `{ "deployment.environment.name" = "prod" }`
        attributes: BTreeMap<String, String> = labels(), key "attributes";
    }
}

/// The section after its checks: what to push, and where to.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// Base address of the collector that gets it.
    pub endpoint: String,
    /// Sent with every request. Values that are secrets are marked so.
    pub headers: HeaderMap,
    /// An authority that is trusted beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Deadline of one request.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// What it gets.
    pub signals: Signals,
    /// Between two measurements.
    pub interval: Duration,
    /// Single sandboxes reported in metrics.
    pub n_sandboxes: usize,
    /// What every resource says.
    pub attributes: BTreeMap<String, String>,
}

impl Exporter {
    /// None without an endpoint; then nothing else is checked.
    pub(crate) fn resolve(rules: &mut Rules<'_>) -> Option<Otlp> {
        let (endpoint, _) = rules.given().get(Self::TABLE, "endpoint")?;
        if endpoint.as_str().is_none_or(str::is_empty) {
            return None;
        }
        let Self {
            endpoint,
            protocol: (),
            signals,
            gzip,
            interval,
            timeout,
            n_sandboxes,
            ca_file,
            headers,
            attributes,
        } = Self::take(rules);
        let endpoint = endpoint?;
        let holds = endpoint.parse::<BaseUrl>().is_ok_and(|base| {
            let url = base.url();
            url.username().is_empty() && url.password().is_none() && url.query().is_none()
        });
        rules.check(holds, (Self::TABLE, "endpoint"), &format!("otlp endpoint must be {ADDRESS}"));
        let signals = Signals(signals);
        Some(Otlp { endpoint, headers, ca_file, timeout, gzip, signals, interval, n_sandboxes, attributes })
    }
}

fn protocol(text: &str) -> Option<()> {
    (text == "http/protobuf").then_some(())
}

fn compression(text: &str) -> Option<bool> {
    match text {
        "gzip" => Some(true),
        "none" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, ServeArgs};

    fn resolve(text: &str) -> Result<Config, String> {
        Config::resolve_text(ServeArgs::default(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_pushed_unless_somebody_says_where() {
        assert!(resolve("").unwrap().otlp.is_none());
        assert!(resolve("[otlp]\ninterval_s = 5").unwrap().otlp.is_none());
    }

    #[test]
    fn what_is_shown_can_be_used_again_and_has_no_secrets() {
        let config = resolve(
            r#"
            [otlp]
            endpoint = "http://collector:4318/base"
            signals = ["events", "metrics"]
            headers = { authorization = "Bearer hunter2" }
            attributes = { "deployment.environment.name" = "prod" }
            "#,
        );
        let shown = config.unwrap().show();
        let (_, section) = shown.split_once("[otlp]\n").unwrap();
        insta::assert_snapshot!(section.split("\n\n").next().unwrap(), @r#"
        endpoint = "http://collector:4318/base"
        protocol = "http/protobuf"
        signals = ["events", "metrics"]
        compression = "gzip"
        interval_s = 15
        timeout_s = 10
        top_sandboxes = 0
        # ca_file is not set
        headers = { "authorization" = "[secret]" }
        attributes = { "deployment.environment.name" = "prod" }
        "#);
        assert_eq!(resolve(&shown).unwrap().show(), shown);
        assert!(
            !format!("{:?}", resolve(&shown.replace("[secret]", "hunter2")).unwrap()).contains("hunter2")
        );
    }

    #[test]
    fn every_broken_rule_is_named_and_no_secret_with_it() {
        let said = resolve(
            r#"
            [otlp]
            endpoint = "https://user:pass@collector"
            protocol = "grpc"
            signals = ["traces"]
            compression = "br"
            interval_s = 0
            headers = { "content-type" = "hunter2" }
            "#,
        );
        let said = said.unwrap_err();
        for setting in ["endpoint", "protocol", "signals", "compression", "interval_s", "headers"] {
            assert!(said.contains(&format!("otlp {setting} must be")), "{setting}: {said}");
        }
        assert!(!said.contains("hunter2") && !said.contains("pass"), "{said}");
        assert_eq!(crate::kind::table_of_text("a=b, c=d=e,").len(), 2);
    }
}
