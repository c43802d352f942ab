//! Shapes and header names of the plain HTTP part.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Header with the token that `/init` set.
pub const ACCESS_TOKEN_HEADER: &str = "x-access-token";

/// Prefix of the headers that attach words to uploaded files; the rest of the name, in lower case, is the key.
pub const METADATA_HEADER_PREFIX: &str = "x-metadata-";

/// Header with the secret the agent read at its start; `/init` needs it.
pub const BOOT_TOKEN_HEADER: &str = "x-boot-token";

/// Header in which `/init` answers [`crate::ENVD_VERSION`].
pub const VERSION_HEADER: &str = "x-envd-version";

/// What the agent answers to a call whose token is missing or wrong.
pub const UNAUTHORIZED_MESSAGE: &str =
    "unauthorized access, please provide a valid access token or method signing if supported";

/// Body of `POST /init`. Sent once the sandbox is assigned, and again after each resume.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InitRequest {
    /// What callers must present from now on; absent or empty leaves the agent open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    /// Environment of every process started from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// As whom calls act that name no user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_user: Option<String>,
    /// Where processes of the default user start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_workdir: Option<String>,
    /// The host's time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The sandbox's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// The id of the template it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// CPUs the sandbox may use. Ours, like the next one: a sandbox cannot see its own limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u32>,
    /// Memory it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl std::fmt::Debug for InitRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Token and environment are secrets.
        f.debug_struct("InitRequest")
            .field("sandbox_id", &self.sandbox_id)
            .field("template_id", &self.template_id)
            .field("default_user", &self.default_user)
            .finish_non_exhaustive()
    }
}

/// Body of every refusal of the plain HTTP part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status.
    pub code: u16,
    /// In words.
    pub message: String,
}

/// One written file, in the answer of `POST /files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteInfo {
    /// Absolute path.
    pub path: String,
    /// Last component of the path.
    pub name: String,
    /// What it is: always `file`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was attached to the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Body of `POST /files/compose`: puts files one after the other into one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComposeRequest {
    /// What to put together, in this order. These files are removed once that has worked.
    pub source_paths: Vec<String>,
    /// The file to make or replace.
    pub destination: String,
    /// The user who owns the result; relative paths start from their home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// Answer of `GET /metrics`: the sandbox as seen from inside. All sizes in bytes unless named otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentMetrics {
    /// When, in unix seconds.
    pub ts: u64,
    /// Logical CPUs.
    pub cpu_count: u32,
    /// CPU use since the previous call, over all CPUs together, 0-100.
    pub cpu_used_pct: f64,
    /// Memory, in MiB.
    pub mem_total_mib: u64,
    /// Memory in use without reclaimable cache, in MiB.
    pub mem_used_mib: u64,
    /// Memory, in bytes.
    pub mem_total: u64,
    /// Memory in use without reclaimable cache, in bytes.
    pub mem_used: u64,
    /// Reclaimable cache, in bytes.
    pub mem_cache: u64,
    /// Used bytes of the root file system.
    pub disk_used: u64,
    /// Size of the root file system, in bytes.
    pub disk_total: u64,
}

/// The user that an `Authorization` header like `Basic base64("name:")` names; `None` where it is no such header.
pub fn basic_user(value: &str) -> Option<String> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, _password) = decoded.split_once(':')?;
    Some(user.to_owned())
}
