//! The table of kinds of events: everything else that lists kinds comes from here, so that none can be forgotten.
//!
//! To add one: a row below, a variant of [`Fact`](crate::Fact), and the places that the compiler then asks for. See
//! `docs/contributing/add-an-event.md`.

use std::fmt;
use std::str::FromStr;

/// What an event is about, and who works with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// A change of a sandbox's life.
    Lifecycle,
    /// What the kernel did to a sandbox that lives on.
    Resource,
    /// How deliveries to a webhook are going.
    Webhook,
    /// A rule that looks at numbers has something to report.
    Alert,
}

/// Who gets events of a kind without naming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Every history and every webhook that subscribes to it.
    Listed,
    /// Lists and webhooks only if they name the kind; the stream shows everything.
    Named,
}

/// The codes below this one, and no others, belong to kinds that are [`Visibility::Listed`], so that one comparison of
/// the stored form distinguishes both.
pub const FIRST_NAMED_CODE: u8 = 101;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident: $code:literal, $name:literal, $class:ident, $visibility:ident;)+) => {
        /// What happened, without its particulars: the kind of a [`Fact`](crate::Fact).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl EventType {
            /// Every kind, in the order of the documentation.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$kind),+];

            /// The number by which it is stored; never that of another kind, also of one that is gone.
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$kind => $code,)+
                }
            }

            /// The kind with this number.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$kind),)+
                    _ => None,
                }
            }

            /// Its name, everywhere.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// What it is about.
            pub const fn class(self) -> EventClass {
                match self {
                    $(Self::$kind => EventClass::$class,)+
                }
            }

            /// Who gets it without naming it.
            pub const fn visibility(self) -> Visibility {
                match self {
                    $(Self::$kind => Visibility::$visibility,)+
                }
            }
        }
    };
}

kinds! {
    /// A sandbox was made.
    Created: 1, "sandbox.lifecycle.created", Lifecycle, Listed;
    /// A sandbox ended.
    Killed: 2, "sandbox.lifecycle.killed", Lifecycle, Listed;
    /// A sandbox's configuration changed.
    Updated: 3, "sandbox.lifecycle.updated", Lifecycle, Listed;
    /// A sandbox was paused.
    Paused: 4, "sandbox.lifecycle.paused", Lifecycle, Listed;
    /// A sandbox was resumed.
    Resumed: 5, "sandbox.lifecycle.resumed", Lifecycle, Listed;
    /// A snapshot was taken of a sandbox.
    Checkpointed: 6, "sandbox.lifecycle.checkpointed", Lifecycle, Listed;
    /// The kernel killed processes of a sandbox for lack of memory, and it lives on.
    OutOfMemory: 111, "sandbox.oom", Resource, Named;
    /// A webhook is behind: an event has waited for long to be delivered to it.
    WebhookLagging: 101, "webhook.lagging", Webhook, Named;
    /// A webhook was disabled by the server.
    WebhookDisabled: 102, "webhook.disabled", Webhook, Named;
    /// A webhook that was behind, failing or disabled is well again.
    WebhookRecovered: 103, "webhook.recovered", Webhook, Named;
    /// A delivery ran out of attempts: the first since the webhook was last well.
    WebhookExhausted: 104, "webhook.exhausted", Webhook, Named;
    /// An alert fires.
    AlertFiring: 121, "sandbox.alert.firing", Alert, Named;
    /// An alert fires no more.
    AlertResolved: 122, "sandbox.alert.resolved", Alert, Named;
}

// Codes are unique, or `from_code` would have an arm that nothing reaches; that they lie where they should is checked
// here.
const _: () = {
    let mut index = 0;
    while index < EventType::ALL.len() {
        let kind = EventType::ALL[index];
        let is_listed = matches!(kind.visibility(), Visibility::Listed);
        assert!(
            is_listed == (kind.code() < FIRST_NAMED_CODE),
            "a code lies on the wrong side of FIRST_NAMED_CODE"
        );
        index += 1;
    }
};

impl EventType {
    /// The kinds that are shown to who names none: all that consumers know who were written for another server.
    pub fn listed() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| kind.visibility() == Visibility::Listed)
    }

    /// Whether it reports this server's own work, or what it noticed, rather than something a sandbox went through.
    pub const fn is_operational(self) -> bool {
        matches!(self.class(), EventClass::Webhook | EventClass::Alert)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown event type")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownEventType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_to_their_kind() {
        for kind in EventType::ALL {
            assert_eq!(EventType::from_code(kind.code()), Some(kind));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!(EventType::from_code(0), None);
        assert_eq!("sandbox.lifecycle".parse::<EventType>(), Err(UnknownEventType));
    }
}
