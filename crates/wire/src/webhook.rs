//! Webhook registrations.

use sandscope_model::{TeamId, Timestamp, Webhook as Model, WebhookId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::webhook_options::DeliveryOptions;

/// A registration as answered; never with its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDetail {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: WebhookId,
    /// Whose it is.
    #[serde(rename = "teamID")]
    #[schema(value_type = uuid::Uuid)]
    pub team_id: TeamId,
    /// The same in the other spelling consumers read.
    #[serde(rename = "teamId")]
    #[schema(value_type = uuid::Uuid)]
    pub team_id_twin: TeamId,
    /// What people call it.
    pub name: String,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether events committed from now on are delivered.
    pub enabled: bool,
    /// Where events go.
    pub url: String,
    /// Which events go there.
    pub events: Vec<String>,
    /// The only sandbox whose events go there.
    #[serde(rename = "sandboxID", default, skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// How it is delivered to.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
    /// How deliveries have been going; where one webhook is asked for, or the list with `status=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<WebhookStatus>,
}

/// How deliveries to a webhook have been going.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookStatus {
    /// Events of the team's log it has not come to yet.
    pub behind: u64,
    /// Deliveries that await another attempt.
    pub pending: u64,
    /// Deliveries that are out of attempts.
    pub exhausted: u64,
    /// Events passed while it was disabled.
    pub skipped: u64,
    /// Since when no attempt has succeeded, if any has failed since.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    /// How many have failed since.
    pub failed_attempts: u32,
    /// When the last attempt that succeeded was started, of those that are kept (7 days).
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// Why the server disabled it.
    pub disabled_reason: Option<String>,
}

impl From<&Model> for WebhookDetail {
    fn from(webhook: &Model) -> Self {
        Self {
            id: webhook.id,
            team_id: webhook.team_id,
            team_id_twin: webhook.team_id,
            name: webhook.name.clone(),
            created_at: webhook.created_at,
            enabled: webhook.enabled,
            url: webhook.url.clone(),
            events: webhook.events.iter().map(ToString::to_string).collect(),
            sandbox_id: webhook.options.sandbox_id.as_ref().map(ToString::to_string),
            delivery: DeliveryOptions::of(webhook),
            status: None,
        }
    }
}

/// Body of registering a webhook.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookCreate {
    /// What people call it: 1 to 256 characters.
    #[schema(min_length = 1, max_length = 256)]
    #[serde(default)]
    #[schema(required)]
    pub name: String,
    /// Where events go: absolute, http or https.
    #[serde(default)]
    #[schema(required)]
    pub url: String,
    /// Which events go there: at least one.
    #[schema(min_items = 1)]
    #[serde(default)]
    #[schema(required)]
    pub events: Vec<String>,
    /// Whether events are delivered. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What deliveries are signed with; never shown again. 1 to 1024 characters, better 32 or more.
    #[schema(min_length = 1, max_length = 1024)]
    #[serde(default)]
    #[schema(required)]
    pub signature_secret: String,
    /// How it is delivered to.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
}

/// Body of changing a webhook: only what is given changes.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookConfiguration {
    /// What people call it: 1 to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub name: Option<String>,
    /// Where events go: absolute, http or https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which events go there: at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1)]
    pub events: Option<Vec<String>>,
    /// Whether events committed from now on are delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What deliveries are signed with; never shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 1024)]
    pub signature_secret: Option<String>,
    /// How it is delivered to.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
}

// The secret must not reach logs: neither body prints it.

impl std::fmt::Debug for WebhookCreate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookCreate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WebhookConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookConfiguration").field("name", &self.name).finish_non_exhaustive()
    }
}
