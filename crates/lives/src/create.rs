use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{NetworkConfig, OnTimeout, Sandbox};

/// A sandbox to be made.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// Id or name of a template, `slug/name`, each with an optional `:tag`.
    pub template: String,
    /// How long it may run; more than zero.
    pub timeout: Duration,
    /// The user's labels.
    pub metadata: BTreeMap<String, String>,
    /// Environment of every process started in it.
    pub env_vars: BTreeMap<String, String>,
    /// Whether its agent asks for a token.
    pub secure: bool,
    /// What happens when its time is up.
    pub on_timeout: OnTimeout,
    /// Whether traffic resumes it once paused.
    pub auto_resume: bool,
    /// As given by the client.
    pub allow_internet_access: Option<bool>,
    /// As given by the client.
    pub network: Option<NetworkConfig>,
    /// Under which key a repeated request is recognised.
    pub idempotency: Option<IdempotencyKey>,
}

/// Recognises a repetition of a request to make a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key, unique within its team.
    pub key: String,
    /// SHA-256 of the request: with the same key it must be the same.
    pub request_hash: [u8; 32],
}

/// A sandbox that was made.
#[derive(Debug, Clone)]
pub struct Created {
    /// The sandbox.
    pub sandbox: Arc<Sandbox>,
    /// Whether an earlier request with the same idempotency key made it.
    pub replayed: bool,
}

/// How many sandboxes were made since the start, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreateCounts {
    /// Sandboxes made.
    pub n_created: u64,
    /// Admitted, but not made.
    pub n_failed: u64,
    /// Admitted, and being made.
    pub n_under_way: u64,
}
