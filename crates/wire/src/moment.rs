//! Times in bodies, in the spellings that query strings take as well.

use std::fmt;

use sandscope_model::Timestamp;
use serde::de::{Deserializer, Error, Visitor};

const WORDS: &str = "an RFC 3339 time or seconds since 1970";

/// Reads an RFC 3339 time or seconds since 1970 (a number, or a text of digits); `null` is `None`.
pub(crate) fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    deserializer.deserialize_any(Moment)
}

/// What `text` says; `None` if it is no time.
pub fn parse(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(seconds) => Timestamp::from_second(seconds).ok(),
        Err(_) => text.parse().ok(),
    }
}

struct Moment;

impl<'de> Visitor<'de> for Moment {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Self::Value, E> {
        Timestamp::from_second(seconds).map(Some).map_err(|_| E::custom(format_args!("expected {WORDS}")))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Self::Value, E> {
        self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        parse(text).map(Some).ok_or_else(|| E::custom(format_args!("expected {WORDS}")))
    }
}

#[cfg(test)]
mod tests {
    use crate::replay::NewReplay;

    #[test]
    fn a_time_is_written_in_either_way() {
        let read = |since: &str| serde_json::from_str::<NewReplay>(&format!(r#"{{"since":{since}}}"#));
        for text in
            ["1767225600", r#""1767225600""#, r#""2026-01-01T00:00:00Z""#, r#""2026-01-01T01:00:00+01:00""#]
        {
            let since = read(text).unwrap().since.unwrap();
            assert_eq!(since.as_second(), 1_767_225_600, "{text}");
        }
        assert_eq!(read("null").unwrap().since, None);
        for bad in [r#""yesterday""#, "99999999999999", r#""""#, "true", "1.5", "[]"] {
            let words = read(bad).unwrap_err().to_string();
            assert!(words.contains("an RFC 3339 time or seconds since 1970"), "{words}");
        }
    }
}
