//! Objects that are objects: derived code alone would also read a list as the fields in order, so that a client's
//! mistake would be taken for a wish.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Reads a JSON object, or `null` as `None`.
pub(crate) fn option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_option(OptionVisitor(PhantomData))
}

struct OptionVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OptionVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use crate::request::NewSandbox;

    fn read(network: &str) -> Result<NewSandbox, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"templateID":"base","network":{network},"autoResume":{network}}}"#
        ))
    }

    #[test]
    fn a_list_is_no_object() {
        for list in ["[]", "[true]", r#"[true, ["a"]]"#, "7", r#""x""#] {
            let error = read(list).unwrap_err().to_string();
            assert!(error.contains("expected an object or null"), "{list}: {error}");
        }
        assert!(read("{}").unwrap().network.is_some());
        assert_eq!(read("null").unwrap().network, None);
    }
}
