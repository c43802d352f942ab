//! Teams and API keys as answered.

use sandscope_model::{ApiKey, ApiKeyId, KeyMask, TeamId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An element of `GET /teams`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    /// The team.
    #[serde(rename = "teamID")]
    #[schema(value_type = uuid::Uuid)]
    pub team_id: TeamId,
    /// What people call it.
    pub name: String,
    /// The key the caller itself presented.
    #[serde(rename = "apiKey")]
    pub api_key: String,
    /// Whether clients should choose it.
    #[serde(rename = "isDefault")]
    pub is_default: bool,
}

/// What may be shown of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentifierMask {
    /// `e2b_`.
    pub prefix: String,
    /// Length of the part after the prefix.
    pub value_length: u32,
    /// Its first characters.
    pub masked_value_prefix: String,
    /// Its last characters.
    pub masked_value_suffix: String,
}

impl From<&KeyMask> for IdentifierMask {
    fn from(mask: &KeyMask) -> Self {
        Self {
            prefix: mask.prefix.clone(),
            value_length: mask.value_length,
            masked_value_prefix: mask.masked_value_prefix.clone(),
            masked_value_suffix: mask.masked_value_suffix.clone(),
        }
    }
}

/// An API key without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TeamApiKey {
    /// Its public handle.
    #[schema(value_type = uuid::Uuid)]
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// What may be shown of it.
    pub mask: IdentifierMask,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When a request last used it (kept to the minute); `null`: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}

impl From<&ApiKey> for TeamApiKey {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name.clone(),
            mask: (&key.mask).into(),
            created_at: key.created_at,
            last_used: key.last_used_at,
        }
    }
}

/// A key that no longer opens anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedTeamApiKey {
    /// What was known of it.
    #[serde(flatten)]
    pub about: TeamApiKey,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// A key that was just made: the only answer that ever carries it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedTeamApiKey {
    /// The key itself.
    pub key: String,
    /// Everything else.
    #[serde(flatten)]
    pub about: TeamApiKey,
}

impl std::fmt::Debug for CreatedTeamApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedTeamApiKey").field("about", &self.about).finish_non_exhaustive()
    }
}

/// Body of making and of renaming a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyName {
    /// What people call it: 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
}
