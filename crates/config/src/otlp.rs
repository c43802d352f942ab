//! `[otlp]`: the collector that metrics, logs and events are pushed to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use sandscope_model::Secret;
use sandscope_otlp::{Collector, Signal, Signals, Target};
use serde::Deserialize;

/// As written, unchecked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSection {
    pub endpoint: Option<String>,
    protocol: Option<String>,
    signals: Option<Vec<String>>,
    pub headers: Option<BTreeMap<String, Secret>>,
    compression: Option<String>,
    ca_file: Option<PathBuf>,
    interval_s: Option<u32>,
    timeout_s: Option<u32>,
    top_sandboxes: Option<u32>,
    attributes: Option<BTreeMap<String, String>>,
}

/// Checked.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// Who gets it.
    pub target: Target,
    /// What it gets.
    pub signals: Signals,
    /// Between two measurements.
    pub interval: Duration,
    /// Single sandboxes told of in metrics.
    pub n_sandboxes: usize,
    /// What every resource says.
    pub attributes: BTreeMap<String, String>,
}

/// Ours; `authorization` and the like are the operator's.
const RESERVED: [&str; 6] =
    ["host", "content-type", "content-encoding", "content-length", "transfer-encoding", "connection"];

impl OtlpSection {
    /// What is said here, and else what `under` says.
    pub fn or(self, under: Self) -> Self {
        Self {
            endpoint: self.endpoint.or(under.endpoint),
            protocol: self.protocol.or(under.protocol),
            signals: self.signals.or(under.signals),
            headers: self.headers.or(under.headers),
            compression: self.compression.or(under.compression),
            ca_file: self.ca_file.or(under.ca_file),
            interval_s: self.interval_s.or(under.interval_s),
            timeout_s: self.timeout_s.or(under.timeout_s),
            top_sandboxes: self.top_sandboxes.or(under.top_sandboxes),
            attributes: self.attributes.or(under.attributes),
        }
    }

    /// `None` without an endpoint. Every broken rule goes into `broken`.
    pub fn check(self, broken: &mut Vec<String>) -> Option<Otlp> {
        let endpoint = self.endpoint.filter(|endpoint| !endpoint.is_empty())?;
        let mut rule = |holds: bool, setting: &str, wanted: &str| {
            if !holds {
                broken.push(format!("otlp {setting} must be {wanted}"));
            }
        };
        let protocol = self.protocol.as_deref().unwrap_or("http/protobuf");
        rule(protocol == "http/protobuf", "protocol", "http/protobuf, the only one spoken");
        let compression = self.compression.as_deref().unwrap_or("gzip");
        rule(["gzip", "none"].contains(&compression), "compression", "gzip or none");
        let signals: Option<Vec<Signal>> = match &self.signals {
            None => Some(Signal::ALL.to_vec()),
            Some(given) => given.iter().map(|name| name.parse().ok()).collect(),
        };
        let some = signals.as_ref().is_some_and(|signals| !signals.is_empty());
        rule(some, "signals", "some of metrics, logs, events");
        let (interval, timeout) = (self.interval_s.unwrap_or(15), self.timeout_s.unwrap_or(10));
        rule((1..=3600).contains(&interval), "interval_s", "from 1 to 3600");
        rule((1..=60).contains(&timeout), "timeout_s", "from 1 to 60");
        let n_sandboxes = self.top_sandboxes.unwrap_or(0);
        rule(n_sandboxes <= 1000, "top_sandboxes", "from 0 to 1000");
        let attributes = self.attributes.unwrap_or_default();
        let fine = |(key, value): (&String, &String)| (1..=128).contains(&key.len()) && value.len() <= 1024;
        let bounded = attributes.len() <= 32 && attributes.iter().all(fine);
        rule(bounded, "attributes", "at most 32 texts with names of 1 to 128 bytes");
        let headers = headers(&self.headers.unwrap_or_default());
        // The value is not repeated: it may be a key.
        rule(headers.is_some(), "headers", "at most 32 texts with names of headers that are not ours");
        let target = Target {
            endpoint,
            headers: headers.unwrap_or_default(),
            ca_file: self.ca_file,
            timeout: Duration::from_secs(timeout.into()),
            gzip: compression == "gzip",
        };
        let url = target.endpoint.parse::<url::Url>().ok();
        let plain = url.is_some_and(|url| {
            url.username().is_empty() && url.password().is_none() && url.query().is_none()
        });
        let wanted = "a base address such as http://127.0.0.1:4318, with keys in headers only";
        rule(plain && Collector::new(target.clone()).is_ok(), "endpoint", wanted);
        let interval = Duration::from_secs(interval.into());
        let signals = Signals(signals?);
        Some(Otlp { target, signals, interval, n_sandboxes: n_sandboxes as usize, attributes })
    }
}

fn headers(given: &BTreeMap<String, Secret>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name: HeaderName = name.parse().ok()?;
        let mut value: HeaderValue = value.expose().parse().ok()?;
        value.set_sensitive(true);
        if RESERVED.contains(&name.as_str()) {
            return None;
        }
        headers.insert(name, value);
    }
    (headers.len() <= 32).then_some(headers)
}

/// `name=value,…` as the environment has it.
pub(super) fn headers_of_text(text: &str) -> BTreeMap<String, Secret> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let halves = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    halves.map(|(name, value)| (name.trim().to_owned(), Secret::new(value.trim().to_owned()))).collect()
}

impl Otlp {
    /// As lines of the file, secrets hidden.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let Self { target, signals, interval, n_sandboxes, attributes } = self;
        let table = |pairs: Vec<(&str, &str)>| {
            let pairs: Vec<String> = pairs
                .into_iter()
                .map(|(key, value)| format!("{} = {}", quoted(key), quoted(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        };
        let names: Vec<String> = signals.0.iter().map(|signal| quoted(signal.as_str())).collect();
        let mut lines = vec![
            ("endpoint", quoted(&target.endpoint)),
            ("protocol", quoted("http/protobuf")),
            ("signals", format!("[{}]", names.join(", "))),
            ("compression", quoted(if target.gzip { "gzip" } else { "none" })),
            ("interval_s", interval.as_secs().to_string()),
            ("timeout_s", target.timeout.as_secs().to_string()),
            ("top_sandboxes", n_sandboxes.to_string()),
        ];
        if let Some(file) = &target.ca_file {
            lines.push(("ca_file", quoted(&file.to_string_lossy())));
        }
        if !target.headers.is_empty() {
            let names = target.headers.keys().map(|name| (name.as_str(), "[secret]"));
            lines.push(("headers", table(names.collect())));
        }
        if !attributes.is_empty() {
            let pairs = attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            lines.push(("attributes", table(pairs.collect())));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;

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
        assert_eq!(super::headers_of_text("a=b, c=d=e,").len(), 2);
    }
}
