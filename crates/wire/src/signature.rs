//! Signatures by which a receiver knows that a body came from here and was not changed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::hmac;
use sandscope_model::{EventId, Secret, Timestamp};
use sha2::{Digest, Sha256};

/// What goes into `e2b-signature-version`.
pub const V1: &str = "v1";
/// How a secret begins that is the base64 of its key.
pub const ENCODED_PREFIX: &str = "whsec_";

/// Signature version 1 of `body`: the SHA-256 of the secret followed by the body, in standard base64 without
/// padding, 43 characters. A plain hash and not an HMAC: it is what existing receivers compute.
pub fn v1(secret: &Secret, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(secret.expose().as_bytes());
    hash.update(body);
    STANDARD_NO_PAD.encode(hash.finalize())
}

/// The signature of the Standard Webhooks specification, as in `webhook-signature`: `v1,` and the base64 of
/// HMAC-SHA256 over id, time in seconds and body, joined by dots. The key is what follows `whsec_`, decoded; a secret
/// without it is its own key.
pub fn standard(secret: &Secret, id: EventId, at: Timestamp, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key(secret));
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{}.", at.as_second()).as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

fn key(secret: &Secret) -> Vec<u8> {
    let text = secret.expose();
    let encoded = text.strip_prefix(ENCODED_PREFIX);
    encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).unwrap_or_else(|| text.as_bytes().to_vec())
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

    #[test]
    fn an_encoded_secret_and_its_key_sign_alike() {
        let id = uuid::Uuid::from_u128(1).into();
        let sign =
            |secret: &str| standard(&Secret::new(secret.to_owned()), id, Timestamp::UNIX_EPOCH, b"body");
        // "plain key" in base64.
        assert_eq!(sign("whsec_cGxhaW4ga2V5"), sign("plain key"));
        assert_ne!(sign("whsec_cGxhaW4ga2V5"), sign("plain kez"));
        assert!(sign("plain key").starts_with("v1,"));
    }
}
