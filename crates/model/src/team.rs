use serde::{Deserialize, Serialize};

use crate::{ApiKeyId, TeamId, Timestamp};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// The team's id.
    pub id: TeamId,
    /// What people call it.
    pub name: String,
    /// Its namespace in template and snapshot names: `[a-z0-9-_]+`.
    pub slug: String,
    /// What it may use.
    pub limits: TeamLimits,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a team may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamLimits {
    /// Sandboxes running (or starting, or being paused) at once.
    pub max_concurrent_sandboxes: u32,
    /// Longest timeout that may be set, in seconds.
    pub max_timeout_s: u32,
    /// How long events are kept, in days, 1 to 365.
    pub event_retention_days: u16,
    /// Webhooks that may be registered.
    pub max_webhooks: u32,
}

impl Default for TeamLimits {
    fn default() -> Self {
        Self {
            max_concurrent_sandboxes: 100,
            max_timeout_s: 24 * 3600,
            event_retention_days: 7,
            max_webhooks: 50,
        }
    }
}

/// An API key as stored: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public handle.
    pub id: ApiKeyId,
    /// The team that owns it.
    pub team_id: TeamId,
    /// What people call it.
    pub name: String,
    /// What may be shown of the key.
    pub mask: KeyMask,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a request last used it (kept to the minute).
    pub last_used_at: Option<Timestamp>,
}

/// What may be shown of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMask {
    /// `e2b_`.
    pub prefix: String,
    /// Length of the part after the prefix.
    pub value_length: u32,
    /// Its first characters.
    pub masked_value_prefix: String,
    /// Its last characters.
    pub masked_value_suffix: String,
}
