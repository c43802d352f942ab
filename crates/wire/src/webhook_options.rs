//! How a webhook is delivered to: what may be said beyond the original's five fields.

use std::collections::{BTreeMap, BTreeSet};

use sandscope_model::{Ordering, PayloadStyle, Retry, Webhook};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Options of a webhook. What is left out stays as it is, or as the server has it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryOptions {
    /// What waits for what: `none`, `sandbox` (default: an event waits for the earlier ones of its sandbox) or `strict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ordering: Option<Ordering>,
    /// When failed deliveries are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryOptions>,
    /// Seconds one attempt may take, 1 to 300; 0: as the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 300)]
    pub timeout_seconds: Option<u32>,
    /// Attempts in flight at once at most, 1 to 64; 0: as the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 64)]
    pub max_in_flight: Option<u32>,
    /// Attempts started per second at most, 1 to 10,000; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 10_000)]
    pub rate_per_second: Option<u32>,
    /// Seconds without a success after which the webhook is disabled, 60 to a year; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 31_536_000)]
    pub disable_after_seconds: Option<u32>,
    /// In which spelling events are sent: `both` (default), `camel`, `snake` or `cloudevents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub payload: Option<PayloadStyle>,
    /// Which events of the subscribed types are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterOptions>,
    /// Headers sent with every delivery. Their values are never shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
}

/// When failed deliveries are tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryOptions {
    /// `server`, `e2b` (3 times, 10 s apart), `standard` (over three days) or `custom`.
    pub policy: String,
    /// With `custom`: seconds before the second, third … attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delays_seconds: Vec<u32>,
}

impl RetryOptions {
    /// The policy meant; `None` if there is none of that name.
    pub fn to_model(&self) -> Option<Retry> {
        match self.policy.as_str() {
            "server" => Some(Retry::Server),
            "e2b" => Some(Retry::E2b),
            "standard" => Some(Retry::Standard),
            "custom" => Some(Retry::Custom(self.delays_seconds.clone())),
            _ => None,
        }
    }
}

impl From<&Retry> for RetryOptions {
    fn from(retry: &Retry) -> Self {
        let (policy, delays_seconds) = match retry {
            Retry::Server => ("server", Vec::new()),
            Retry::E2b => ("e2b", Vec::new()),
            Retry::Standard => ("standard", Vec::new()),
            Retry::Custom(delays) => ("custom", delays.clone()),
        };
        Self { policy: policy.to_owned(), delays_seconds }
    }
}

/// Which events of the subscribed types are meant; nothing given means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FilterOptions {
    /// Labels the sandbox must have, all of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Templates (ids or names) it must have been made from, one of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub templates: BTreeSet<String>,
    /// Why it must have ended, on events that say why.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub reasons: BTreeSet<String>,
}

impl DeliveryOptions {
    /// What holds for `webhook`, without the values of its headers.
    pub fn of(webhook: &Webhook) -> Self {
        let options = &webhook.options;
        let filter = &options.filter;
        let hidden = webhook.headers.keys().map(|name| (name.clone(), "[redacted]".to_owned()));
        Self {
            ordering: Some(options.ordering),
            retry: Some(RetryOptions::from(&options.retry)),
            timeout_seconds: options.timeout_s,
            max_in_flight: options.max_in_flight,
            rate_per_second: options.rate_per_second,
            disable_after_seconds: options.disable_after_s,
            payload: Some(options.payload),
            filter: (*filter != sandscope_model::WebhookFilter::default()).then(|| FilterOptions {
                metadata: filter.metadata.clone(),
                templates: filter.templates.iter().map(ToString::to_string).collect(),
                reasons: filter.reasons.clone(),
            }),
            headers: (!webhook.headers.is_empty()).then(|| hidden.collect()),
        }
    }
}

// Header values may be credentials: they must not reach logs.
impl std::fmt::Debug for DeliveryOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryOptions").finish_non_exhaustive()
    }
}
