//! The body of every error.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of every error: clients read `code` (equal to the HTTP status) and show `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody {
    /// The HTTP status again.
    pub code: u16,
    /// One sentence for people. Clients match on some of them.
    pub message: String,
    /// A name for machines, where the status alone does not distinguish cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error_code: Option<String>,
}
