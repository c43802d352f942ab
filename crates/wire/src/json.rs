//! How answers and webhook bodies are written, so that their text survives a round trip through other languages.
//!
//! Many receivers let their framework parse the body and verify the signature of what `JSON.stringify` or `json.dumps`
//! makes of it. Their text equals ours only where every number and the order of keys come out the same:
//!
//! - A whole number has no fraction: JavaScript writes `0.0` as `0`.
//! - Other numbers have at most four digits after the point: Python writes what is smaller than 0.0001 with an exponent
//!   (`1e-05`), JavaScript does so below 0.000001.
//! - In signed bodies, keys that look like array indices come first, in numeric order: ECMA-262 (OrdinaryOwnPropertyKeys)
//!   orders them so whatever the text said.

use std::io;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::Value;
use serde_json::ser::Formatter;

/// Largest whole number that JavaScript holds exactly: 2^53 - 1.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// `value` as compact JSON.
///
/// # Errors
/// Whatever the implementation of `Serialize` answers.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Portable))?;
    Ok(bytes)
}

/// `value` as compact JSON.
///
/// # Errors
/// Whatever the implementation of `Serialize` answers.
pub fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    let bytes = to_vec(value)?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// `value` as the bytes of a body that is signed: [`to_vec`] with the keys in the order in which JavaScript keeps them.
pub(crate) fn signed(value: &Value) -> Vec<u8> {
    // A `Value` has text keys only, and writing to memory cannot fail.
    to_vec(&Ordered(value)).unwrap_or_default()
}

/// Writes numbers as other languages would write them again.
struct Portable;

impl Formatter for Portable {
    fn write_f32<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        self.write_f64(writer, f64::from(value))
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        // Beyond this every number is whole, and short enough as it is.
        let rounded = if value.abs() < 1e11 { (value * 10_000.0).round() / 10_000.0 } else { value };
        if rounded.fract() == 0.0 && rounded.abs() <= MAX_SAFE_INTEGER {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            return write!(writer, "{}", rounded as i64);
        }
        // The standard library writes no exponents and as few digits as identify the number.
        write!(writer, "{rounded}")
    }
}

/// A value whose objects are written in JavaScript's order.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => serializer.collect_seq(values.iter().map(Ordered)),
            Value::Object(fields) => {
                let mut indices: Vec<_> =
                    fields.iter().filter_map(|(key, value)| Some((array_index(key)?, key, value))).collect();
                indices.sort_unstable_by_key(|(index, ..)| *index);
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (_, key, value) in indices {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                for (key, value) in fields.iter().filter(|(key, _)| array_index(key).is_none()) {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
            leaf => leaf.serialize(serializer),
        }
    }
}

/// The number a key is if JavaScript treats it as an array index: decimal, no leading zeros, below 2^32 - 1.
fn array_index(key: &str) -> Option<u32> {
    let is_canonical = key == "0" || !key.starts_with(['0', '+']);
    key.parse().ok().filter(|index| is_canonical && *index != u32::MAX)
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
