//! The keys of a sample beyond the nine that every client knows: one for each further field of the catalogue, there only
//! where the sandbox's engine and kernel report it.

use std::fmt;

use sandscope_model::{MetricField as F, Values};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// What a field is called beside the nine keys; `None` for those that are among them.
pub const fn key(field: F) -> Option<&'static str> {
    Some(match field {
        F::CpuUsed | F::CpuCount | F::MemUsed | F::MemTotal | F::MemCache | F::DiskUsed | F::DiskTotal => {
            return None;
        }
        F::Interval => "intervalMs",
        F::CpuStalled => "cpuStallMs",
        F::CpuStalledFull => "cpuStallFullMs",
        F::MemStalled => "memStallMs",
        F::MemStalledFull => "memStallFullMs",
        F::IoStalled => "ioStallMs",
        F::IoStalledFull => "ioStallFullMs",
        F::CpuThrottled => "cpuThrottledMs",
        F::DiskRead => "diskReadBytes",
        F::DiskWritten => "diskWrittenBytes",
        F::DiskReads => "diskReads",
        F::DiskWrites => "diskWrites",
        F::NetReceived => "netRxBytes",
        F::NetSent => "netTxBytes",
        F::NetReceivedPackets => "netRxPackets",
        F::NetSentPackets => "netTxPackets",
        F::Processes => "processes",
        F::OpenFiles => "openFiles",
        F::OomKills => "oomKills",
    })
}

fn field(key_asked: &str) -> Option<F> {
    F::ALL.iter().copied().find(|field| key(*field) == Some(key_asked))
}

/// Further numbers of a sample; a key is absent where there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MoreMetrics(Values);

impl MoreMetrics {
    /// A field's number, if it is there and none of the nine keys.
    pub const fn get(&self, field: F) -> Option<u64> {
        self.0.get(field)
    }
}

impl From<&Values> for MoreMetrics {
    fn from(values: &Values) -> Self {
        Self(values.iter().filter(|(field, _)| key(*field).is_some()).collect())
    }
}

impl Serialize for MoreMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (field, number) in self.0.iter() {
            if let Some(key) = key(field) {
                map.serialize_entry(key, &number)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for MoreMetrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = MoreMetrics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers of a sample")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MoreMetrics, A::Error> {
                let mut values = Values::NONE;
                while let Some(key) = map.next_key::<String>()? {
                    match field(&key) {
                        Some(field) => values.set(field, map.next_value::<Option<u64>>()?),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(MoreMetrics(values))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

impl PartialSchema for MoreMetrics {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new().schema_type(Type::Object);
        for field in F::ALL {
            let Some(key) = key(*field) else { continue };
            let property = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .minimum(Some(0))
                .description(Some(field.entry().doc));
            object = object.property(key, property);
        }
        object.into()
    }
}

impl ToSchema for MoreMetrics {}

#[cfg(test)]
#[path = "more_metrics_tests.rs"]
mod tests;
