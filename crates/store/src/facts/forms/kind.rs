//! Kinds of events inside stored JSON: by name, where the log itself has their codes.

use sandscope_model::{EventType, EventTypes};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KindForm(pub(crate) EventType);

impl Serialize for KindForm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for KindForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(D::Error::custom)
    }
}

/// The kinds a webhook subscribes to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct KindsForm(Vec<KindForm>);

impl KindsForm {
    pub(crate) fn of(kinds: &EventTypes) -> Self {
        Self(kinds.iter().copied().map(KindForm).collect())
    }

    pub(crate) fn into_kinds(self) -> EventTypes {
        self.0.into_iter().map(|KindForm(kind)| kind).collect()
    }
}
