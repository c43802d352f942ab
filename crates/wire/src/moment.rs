//! Times in bodies, in every spelling that query strings take as well.

use std::fmt;

use sandscope_model::{Timestamp, when};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

/// A time as a client wrote it: a text, or a whole number of seconds since 1970. What it means depends on the present,
/// because a text may say how long ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Moment(String);

impl Moment {
    /// The time it means at `now`; `None` if it is none.
    pub fn at(&self, now: Timestamp) -> Option<Timestamp> {
        when::parse(&self.0, now)
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at.to_string())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MomentVisitor)
    }
}

struct MomentVisitor;

impl Visitor<'_> for MomentVisitor {
    type Value = Moment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(when::FORMS)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Moment, E> {
        Ok(Moment(seconds.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
        Ok(Moment(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_any_way() {
        let now = Timestamp::from_second(1_767_225_660).unwrap();
        let read = |text: &str| serde_json::from_str::<Moment>(text);
        for text in [
            "1767225600",
            r#""1767225600""#,
            r#""2026-01-01T00:00:00Z""#,
            r#""2026-01-01T01:00:00+01:00""#,
            r#""1m""#,
        ] {
            let at = read(text).unwrap().at(now).unwrap();
            assert_eq!(at.as_second(), 1_767_225_600, "{text}");
        }
        for bad in [r#""yesterday""#, r#""""#, "99999999999999"] {
            assert_eq!(read(bad).unwrap().at(now), None, "{bad}");
        }
        for bad in ["true", "1.5", "-1", "[]"] {
            let words = read(bad).unwrap_err().to_string();
            assert!(words.contains("RFC 3339"), "{words}");
        }
    }
}
