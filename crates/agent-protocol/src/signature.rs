//! Signatures of file URLs: who holds the access token may let others read or write one path for a time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// What a signed URL allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `GET /files`.
    Read,
    /// `POST /files`.
    Write,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Signs `operation` on `path` (exactly as the client writes it) for `username` (empty: the default user).
/// `expires_at` is in unix seconds; without it the signature holds as long as the token.
pub fn v1(path: &str, operation: Operation, username: &str, token: &str, expires_at: Option<i64>) -> String {
    let mut hash = Sha256::new();
    hash.update(path);
    hash.update(":");
    hash.update(operation.as_str());
    hash.update(":");
    hash.update(username);
    hash.update(":");
    hash.update(token);
    if let Some(expires_at) = expires_at {
        hash.update(":");
        hash.update(expires_at.to_string());
    }
    format!("v1_{}", STANDARD_NO_PAD.encode(hash.finalize()))
}
