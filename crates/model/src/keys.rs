//! API keys: `e2b_` and 40 hexadecimal digits (160 random bits). Only the SHA-256 of the whole text is stored.

use sha2::{Digest, Sha256};

use crate::{ApiKey, ApiKeyId, Entropy, KeyMask, Secret, TeamId, Timestamp};

const PREFIX: &str = "e2b_";
const N_DIGITS: usize = 40;

/// A key that was just made: the text to show once, and what is stored.
#[derive(Debug)]
pub struct FreshKey {
    /// The key itself, to be shown once.
    pub text: Secret,
    /// What is known of it afterwards.
    pub key: ApiKey,
    /// SHA-256 of the whole text.
    pub hash: [u8; 32],
}

/// Whether `text` looks like a key: lower-case hexadecimal, as the official clients check.
pub fn is_well_formed(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == N_DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// What is stored and looked up of a key, whatever its form: SHA-256 of the whole text.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Draws a new key.
pub fn draw(entropy: &dyn Entropy) -> Secret {
    let mut bytes = [0; N_DIGITS / 2];
    entropy.fill(&mut bytes);
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(format!("{PREFIX}{digits}"))
}

/// Everything there is to know about the well-formed key `text`.
pub fn describe(
    text: Secret,
    team_id: TeamId,
    name: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> FreshKey {
    let value = text.expose().strip_prefix(PREFIX).unwrap_or_default();
    let mask = KeyMask {
        prefix: PREFIX.to_owned(),
        value_length: u32::try_from(value.len()).unwrap_or(u32::MAX),
        masked_value_prefix: value.chars().take(2).collect(),
        masked_value_suffix: value.chars().skip(value.len().saturating_sub(4)).collect(),
    };
    let hash = hash(text.expose());
    let key = ApiKey {
        id: ApiKeyId::generate(entropy),
        team_id,
        name: name.to_owned(),
        mask,
        created_at: now,
        last_used_at: None,
    };
    FreshKey { text, key, hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are counted up.
    #[derive(Debug)]
    struct Counted;

    impl Entropy for Counted {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, n) in bytes.iter_mut().zip(0x35..) {
                *byte = n;
            }
        }
    }

    #[test]
    fn a_drawn_key_is_well_formed_and_its_mask_gives_little_away() {
        let text = draw(&Counted);
        assert!(is_well_formed(text.expose()));
        let team = TeamId::generate(&Counted);
        let fresh = describe(text, team, "first", Timestamp::UNIX_EPOCH, &Counted);
        assert_eq!(fresh.key.mask.value_length, 40);
        assert_eq!(fresh.key.mask.masked_value_prefix.len() + fresh.key.mask.masked_value_suffix.len(), 6);
        assert!(fresh.text.expose().ends_with(&fresh.key.mask.masked_value_suffix));
        assert!(!format!("{:?}", fresh.key).contains(fresh.text.expose()));
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "e2b_", "sk_0123456789012345678901234567890123456789", "e2b_0123456789abcdef"] {
            assert!(!is_well_formed(text), "{text}");
        }
        assert!(!is_well_formed(&format!("e2b_{}", "A".repeat(40))));
    }
}
