//! Signatures by which a receiver knows that a body came from here and was not changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sandscope_model::Secret;
use sha2::{Digest, Sha256};

/// What goes into `e2b-signature-version`.
pub const V1: &str = "v1";

/// Signature version 1 of `body`: the SHA-256 of the secret followed by the body, in standard base64 without
/// padding, 43 characters. A plain hash and not an HMAC: it is what existing receivers compute.
pub fn v1(secret: &Secret, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(secret.expose().as_bytes());
    hash.update(body);
    STANDARD_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        let secret = Secret::new("secret-for-event-signature-verification".to_owned());
        assert_eq!(v1(&secret, br#"{"n":1}"#), "cDhKBdB/dZNZKz8+KY5XNS65ZjlAkBXLe1gSAjycGVw");
        let body =
            br#"{"version":"v2","id":"00000000-0000-0000-0000-000000000001","type":"sandbox.lifecycle.created"}"#;
        assert_eq!(v1(&secret, body), "bLI1Y1wXMl0hFpToDZ2d+BAU9SLNwZCJkeQa7m1Gi9w");
    }
}
