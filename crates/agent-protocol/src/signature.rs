//! Signatures of file URLs: who holds the access token may let others read or write one path for a time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// How every signature of this kind starts.
const PREFIX: &str = "v1_";

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

/// What a signature is over, but for the token. What comes before the token is hashed once, so that looking for the
/// token among many costs next to nothing for each, however long the path.
#[derive(Debug, Clone)]
pub struct Signed {
    before_token: Sha256,
    after_token: String,
}

impl Signed {
    /// `operation` on `path` (exactly as the client writes it) for `username` (empty: the default user).
    /// `expires_at` is in unix seconds; without it the signature holds as long as the token.
    pub fn new(path: &str, operation: Operation, username: &str, expires_at: Option<i64>) -> Self {
        let mut before_token = Sha256::new();
        for part in [path, ":", operation.as_str(), ":", username, ":"] {
            before_token.update(part);
        }
        let after_token = expires_at.map(|at| format!(":{at}")).unwrap_or_default();
        Self { before_token, after_token }
    }

    /// The hash that a signature with `token` carries.
    pub fn digest(&self, token: &str) -> [u8; 32] {
        let hash = self.before_token.clone().chain_update(token).chain_update(&self.after_token);
        hash.finalize().into()
    }
}

/// The hash in `signature`; `None` if it is no signature of this kind.
pub fn parse(signature: &str) -> Option<[u8; 32]> {
    let encoded = signature.strip_prefix(PREFIX)?;
    STANDARD_NO_PAD.decode(encoded).ok()?.try_into().ok()
}

/// Signs, as [`Signed::new`] describes, with `token`.
pub fn v1(path: &str, operation: Operation, username: &str, token: &str, expires_at: Option<i64>) -> String {
    let digest = Signed::new(path, operation, username, expires_at).digest(token);
    format!("{PREFIX}{}", STANDARD_NO_PAD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_carries_the_hash_it_was_made_from() {
        for expires_at in [None, Some(0), Some(1_800_000_000)] {
            let signature = v1("/a b/ü.txt", Operation::Write, "root", "token", expires_at);
            let digest = Signed::new("/a b/ü.txt", Operation::Write, "root", expires_at).digest("token");
            assert_eq!(parse(&signature), Some(digest));
        }
        let known = "v1_/GA+OwObMH6etEE0CJuj8oBdczYFCpvdP4xFwJ/WIH8";
        assert_eq!(v1("a.txt", Operation::Write, "", "tok", None), known);
        for odd in
            ["", "v1_", "v2_/GA+OwObMH6etEE0CJuj8oBdczYFCpvdP4xFwJ/WIH8", "v1_AAAA", "v1_?", &known[3..]]
        {
            assert_eq!(parse(odd), None, "{odd}");
        }
        assert_eq!(parse(&format!("{known}=")), None);
    }
}
