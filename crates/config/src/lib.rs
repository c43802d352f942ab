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
//! A setting is one line of a section (`sections/`): field, key, default, range, flag, environment and doc. Flags and their
//! help ([`Arguments`]), the file's keys, rules, what is shown and the reference page ([`reference`]) are made from it.
//!
//! Unknown keys of the file are refused, as is a file that was named but is not there.

#![warn(clippy::disallowed_methods)]

mod arguments;
mod domain;
mod file;
mod given;
mod kind;
mod reference;
mod rules;
mod sections;
mod setting;
mod shape;
mod show;
mod shown;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

use std::path::PathBuf;

use sandscope_model::{AlertBounds, AlertRule, Prices, TeamLimits};

pub use arguments::{Arguments, DataDirectory, DirectoryAndAddress, Everything, ServeArgs, Uses};
pub use domain::Domain;
pub use reference::reference;
pub use rules::ConfigError;
pub use sections::{Log, Metrics, Otlp, Sandbox, Server, TlsFiles, Webhooks};

use file::Parsed;
use given::Given;
use rules::Rules;
use sections::{Alerts, Exporter, PriceTable, Team};
use setting::Section as _;
use shown::Shown;

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
    /// `[[alerts]]`, and the shipped rules where they are wanted.
    pub alerts: Vec<AlertRule>,
    /// `[log]`
    pub log: Log,
    shown: Vec<Shown>,
}

impl Config {
    /// What holds, given flags and environment in `arguments` and the file they name.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not what it should be; settings break rules, all of which are named.
    pub fn resolve<U>(arguments: Arguments<U>) -> Result<Self, ConfigError> {
        let path = arguments.config.clone().unwrap_or_default();
        let parsed = arguments.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        Self::over(arguments, parsed, path)
    }

    /// What is wrong with the file and which rules are broken comes in one error: one look shows all of it.
    fn over<U>(arguments: Arguments<U>, parsed: Parsed, path: PathBuf) -> Result<Self, ConfigError> {
        let outcome = Self::of(&arguments.given.over(parsed.given));
        match (parsed.wrong, outcome) {
            (None, outcome) => outcome,
            (Some(message), Err(ConfigError::Rules(broken))) => {
                let message = format!("{message}\n{}", broken.join("\n"));
                Err(ConfigError::Malformed { path, message })
            }
            (Some(message), _) => Err(ConfigError::Malformed { path, message }),
        }
    }

    /// As [`resolve`](Self::resolve), with the file's text at hand.
    #[cfg(test)]
    fn resolve_text(arguments: ServeArgs, text: &str) -> Result<Self, ConfigError> {
        let path = PathBuf::from("test.toml");
        let parsed =
            file::parse(text).map_err(|message| ConfigError::Malformed { path: path.clone(), message })?;
        Self::over(arguments, parsed, path)
    }

    fn of(given: &Given) -> Result<Self, ConfigError> {
        let mut rules = Rules::new(given);
        let server = Server::take(&mut rules);
        server.check(&mut rules);
        let sandbox = Sandbox::take(&mut rules);
        let team = Team::take(&mut rules).limits();
        let webhooks = Webhooks::take(&mut rules);
        let mut metrics = Metrics::take(&mut rules);
        metrics.check(&mut rules);
        let otlp = Exporter::resolve(&mut rules);
        let prices = PriceTable::resolve(&mut rules);
        let bounds = AlertBounds {
            for_s: "for_s",
            within_s: "within_s",
            retention_days: team.event_retention_days,
            has_prices: prices.is_some(),
        };
        let alerts = Alerts::resolve(&mut rules, metrics.default_alerts, &bounds);
        let log = Log::take(&mut rules);
        let shown = rules.finish()?;
        Ok(Self { server, sandbox, team, webhooks, metrics, otlp, prices, alerts, log, shown })
    }
}
