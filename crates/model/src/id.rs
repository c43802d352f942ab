//! A type for every id. Each is checked where it enters and cannot be confused with another afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Entropy, Timestamp};

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}")]
pub struct MalformedId {
    /// Which kind of id was expected, for example `sandbox ID`.
    pub kind: &'static str,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Draws a new random (version 4) id.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// The underlying UUID.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                Uuid::try_parse(text).map(Self).map_err(|_| MalformedId { kind: $kind })
            }
        }
    };
}

uuid_id!(
    /// A tenant. Everything belongs to exactly one team.
    TeamId, "team ID"
);
uuid_id!(
    /// A machine that sandboxes live on. Drawn once and kept in its data directory: neither a name nor an address.
    NodeId, "node ID"
);
uuid_id!(
    /// One build of a template: what a sandbox's root filesystem was made from.
    BuildId, "build ID"
);
uuid_id!(
    /// One uninterrupted run of a sandbox, from create or resume to pause or kill.
    ExecutionId, "execution ID"
);
uuid_id!(
    /// A lifecycle event. Receivers recognise a repeated delivery by it.
    EventId, "event ID"
);
uuid_id!(
    /// A webhook registration.
    WebhookId, "webhook ID"
);
uuid_id!(
    /// One delivery attempt (the wire's `e2b-delivery-id`): new for every attempt.
    DeliveryId, "delivery ID"
);
uuid_id!(
    /// Events sent to a webhook again, on request.
    ReplayId, "replay ID"
);
uuid_id!(
    /// A rule of alerts that a team made.
    AlertRuleId, "alert rule ID"
);
uuid_id!(
    /// An API key's public handle; never the key itself.
    ApiKeyId, "API key ID"
);

const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// `n` characters of `[0-9a-z]`, each drawn without bias.
fn base36(entropy: &dyn Entropy, n: usize) -> String {
    let mut text = String::with_capacity(n);
    let mut pool = [0; 32];
    while text.len() < n {
        entropy.fill(&mut pool);
        // 252 is the largest multiple of 36 that fits a byte; higher values would favour the first digits.
        let drawn = pool.iter().filter(|byte| **byte < 252).map(|byte| BASE36[usize::from(byte % 36)]);
        text.extend(drawn.take(n - text.len()).map(char::from));
    }
    text
}

fn is_base36(text: &str) -> bool {
    text.bytes().all(|byte| BASE36.contains(&byte))
}

/// Random bits of a time-ordered id.
const ORDERED_BITS: u32 = 74;

impl EventId {
    /// Whether it is time-ordered; those of early versions are not.
    pub const fn is_ordered(&self) -> bool {
        matches!(self.0.get_version_num(), 7)
    }

    /// The time-ordered (version 7) id of an event of `at`, with the random bits of this one; larger than `last`, if that
    /// is time-ordered, too. So ids sort as the log does: also within a millisecond, and also where the clock was set
    /// back.
    #[must_use]
    pub fn ordered(self, at: Timestamp, last: Option<Self>) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let [.., a, b, c, d] = *self.0.as_bytes();
        let mut random = [0; 10];
        random.copy_from_slice(&self.0.as_bytes()[6..]);
        let fresh = Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid());
        match last {
            Some(last) if last.is_ordered() && fresh <= last => {
                last.further(u128::from(u32::from_be_bytes([a, b, c, d])) + 1)
            }
            _ => fresh,
        }
    }

    /// The time-ordered id that lies `by` behind this one.
    fn further(self, by: u128) -> Self {
        let bits = self.0.as_u128();
        let (millis, high, low) = (bits >> 80, (bits >> 64) & 0xfff, bits & ((1 << 62) - 1));
        let next = ((millis << ORDERED_BITS) | (high << 62) | low) + by;
        let mut random = [0; 10];
        let (high, low) = ((next >> 62) & 0xfff, next & ((1 << 62) - 1));
        random.copy_from_slice(&((high << 64) | low).to_be_bytes()[6..]);
        let millis = u64::try_from(next >> ORDERED_BITS).unwrap_or(u64::MAX);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedId;

            fn try_from(text: String) -> Result<Self, MalformedId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    };
}

text_id!(
    /// A sandbox: `i` and 20 characters of `[0-9a-z]`. The legacy form `<id>-<client id>` is accepted and the
    /// suffix dropped, as older clients still send it.
    SandboxId, "sandbox ID"
);
text_id!(
    /// A template: 20 characters of `[0-9a-z]`.
    TemplateId, "template ID"
);

impl SandboxId {
    /// Draws a new id.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(format!("i{}", base36(entropy, 20)).into())
    }
}

impl FromStr for SandboxId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let malformed = MalformedId { kind: "sandbox ID" };
        let (id, suffix) = text.split_once('-').map_or((text, None), |(id, suffix)| (id, Some(suffix)));
        let suffix_ok = suffix.is_none_or(|s| s.bytes().all(|b| b.is_ascii_alphanumeric()));
        let id_ok = id.len() == 21 && id.starts_with('i') && is_base36(id);
        if id_ok && suffix_ok { Ok(Self(id.into())) } else { Err(malformed) }
    }
}

impl TemplateId {
    /// Draws a new id.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(base36(entropy, 20).into())
    }
}

impl FromStr for TemplateId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        if text.len() == 20 && is_base36(text) {
            Ok(Self(text.into()))
        } else {
            Err(MalformedId { kind: "template ID" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug)]
    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(7, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_generated_id_parses_back() {
        let entropy = Counting(std::sync::atomic::AtomicU8::new(0));
        let sandbox = SandboxId::generate(&entropy);
        assert_eq!(sandbox.as_str().parse(), Ok(sandbox.clone()));
        let template = TemplateId::generate(&entropy);
        assert_eq!(template.as_str().parse(), Ok(template.clone()));
        let event = EventId::generate(&entropy);
        assert_eq!(event.to_string().parse(), Ok(event));
        assert_eq!(event.as_uuid().get_version_num(), 4);
    }

    #[test]
    fn the_last_id_of_a_millisecond_is_followed_by_one_of_the_next() {
        let (id, at) = (EventId::from(Uuid::from_u128(1)), Timestamp::from_millisecond(1_000).unwrap());
        let last: EventId = "00000000-03e8-7fff-bfff-ffffffffffff".parse().unwrap();
        let next = id.ordered(at, Some(last));
        assert_eq!(next.to_string(), "00000000-03e9-7000-8000-000000000001");
        let random: EventId = "ffffffff-ffff-4fff-bfff-ffffffffffff".parse().unwrap();
        assert_eq!(id.ordered(at, Some(random)), id.ordered(at, None));
    }

    #[test]
    fn the_legacy_client_suffix_is_dropped_and_a_second_dash_refused() {
        let id: SandboxId = "i0123456789abcdefghij-6532622b".parse().unwrap();
        assert_eq!(id.as_str(), "i0123456789abcdefghij");
        assert!("i0123456789abcdefghij-6532622b-x".parse::<SandboxId>().is_err());
        assert!("undefined".parse::<SandboxId>().is_err());
        assert!("I0123456789abcdefghij".parse::<SandboxId>().is_err());
    }

    proptest! {
        #[test]
        fn ordered_ids_sort_as_they_were_made(
            drawn in proptest::collection::vec((0_i64..5, any::<u128>(), 0_i64..3), 1..50),
            start in 0_i64..(1 << 47),
        ) {
            let (mut last, mut at) = (None, start);
            for (ahead, random, behind) in drawn {
                // A log's times never go back; several are the same.
                at += ahead;
                let id = EventId::from(Uuid::from_u128(random));
                let ordered = id.ordered(Timestamp::from_millisecond(at.saturating_sub(behind).max(0)).unwrap(), last);
                prop_assert_eq!((ordered.as_uuid().get_version_num(), ordered.as_uuid().get_variant()), (7, uuid::Variant::RFC4122));
                prop_assert!(last.is_none_or(|last| last < ordered));
                prop_assert!(last.is_none_or(|last: EventId| last.to_string() < ordered.to_string()));
                last = Some(ordered);
            }
        }

        #[test]
        fn any_text_is_accepted_or_refused_without_panic(text in ".*") {
            if let Ok(id) = text.parse::<SandboxId>() {
                prop_assert_eq!(id.as_str().len(), 21);
            }
            if let Ok(id) = text.parse::<TemplateId>() {
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
