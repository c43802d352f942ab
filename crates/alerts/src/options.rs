use std::sync::Arc;

use sandscope_model::{AlertRule, Clock, Entropy, Prices};
use sandscope_sampler::Live;
use sandscope_store::{Deliveries, EventLog, Facts, Samples};

use crate::stats::AlertStats;

/// What alerts are made of.
#[derive(Clone)]
pub struct AlertOptions {
    /// The operator's rules, which hold for every team.
    pub rules: Vec<AlertRule>,
    /// What usage costs, if the operator set prices.
    pub prices: Option<Prices>,
    /// Where what fires is kept, rules are found, and events go.
    pub alerts: sandscope_store::Alerts,
    /// What rules on events and usage are held against.
    pub events: EventLog,
    /// Which teams there are, and what their sandboxes are.
    pub facts: Facts,
    /// How deliveries to webhooks have been going.
    pub deliveries: Deliveries,
    /// What was sampled before the server started.
    pub samples: Samples,
    /// Whether the host's disk is short of room now.
    pub host_disk_is_short: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where events' ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// The sandboxes that samples are read of every second.
    pub live: Live,
    /// Where it is counted what was done.
    pub stats: Arc<AlertStats>,
}

impl std::fmt::Debug for AlertOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertOptions").field("rules", &self.rules).finish_non_exhaustive()
    }
}
