//! Page cursors: opaque to clients, `base64url("<time>__<id>")` inside, with `__asc` behind in ascending lists. A
//! cursor names the last row of a page, so that rows which come or go between two pages are neither skipped nor
//! repeated.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use sandscope_model::Timestamp;

/// Longest cursor anybody is given is far below this.
const MAX_LEN: usize = 256;

/// The text is no cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid next token")]
pub struct MalformedCursor;

/// Writes the cursor of the row `id` at `at`.
pub fn encode(at: Timestamp, id: impl Display, ascending: bool) -> String {
    let suffix = if ascending { "__asc" } else { "" };
    URL_SAFE.encode(format!("{at}__{id}{suffix}"))
}

/// Reads a cursor of a list in the same direction.
///
/// # Errors
/// [`MalformedCursor`] if `text` is no cursor of a list in this direction.
pub fn decode<Id: FromStr>(text: &str, ascending: bool) -> Result<(Timestamp, Id), MalformedCursor> {
    if text.len() > MAX_LEN {
        return Err(MalformedCursor);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| MalformedCursor)?;
    let plain = String::from_utf8(bytes).map_err(|_| MalformedCursor)?;
    let (plain, found_ascending) =
        plain.strip_suffix("__asc").map_or((plain.as_str(), false), |rest| (rest, true));
    if found_ascending != ascending {
        return Err(MalformedCursor);
    }
    let (at, id) = plain.split_once("__").ok_or(MalformedCursor)?;
    let at = at.parse().map_err(|_| MalformedCursor)?;
    Ok((at, id.parse().map_err(|_| MalformedCursor)?))
}

/// The text is no cursor of the team's log in this direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid cursor")]
pub struct MalformedPosition;

/// Writes the cursor of a position in a team's log: the number of an event.
pub fn encode_position(sequence: u64, ascending: bool) -> String {
    let direction = if ascending { "asc" } else { "desc" };
    URL_SAFE_NO_PAD.encode(format!("log__{sequence}__{direction}"))
}

/// Reads the cursor of a position in the same direction.
///
/// # Errors
/// [`MalformedPosition`] if `text` is no position in this direction.
pub fn decode_position(text: &str, ascending: bool) -> Result<u64, MalformedPosition> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text.get(..MAX_LEN).map_or(text, |_| "!")).ok()?;
        let plain = String::from_utf8(bytes).ok()?;
        let (sequence, direction) = plain.strip_prefix("log__")?.split_once("__")?;
        let sequence = sequence.parse().ok().filter(|n| i64::try_from(*n).is_ok_and(|n| n < i64::MAX))?;
        (direction == if ascending { "asc" } else { "desc" }).then_some(sequence)
    };
    read().ok_or(MalformedPosition)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandscope_model::SandboxId;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_only_in_its_direction(
            ns in 0_i64..4_000_000_000_000_000_000,
            id in "i[0-9a-z]{20}",
            ascending: bool,
        ) {
            let at = Timestamp::from_nanosecond(i128::from(ns)).unwrap();
            let id: SandboxId = id.parse().unwrap();
            let text = encode(at, &id, ascending);
            prop_assert_eq!(decode(&text, ascending), Ok((at, id)));
            prop_assert_eq!(decode::<SandboxId>(&text, !ascending), Err(MalformedCursor));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*", ascending: bool) {
            let _ = decode::<SandboxId>(&text, ascending);
            let _ = decode_position(&text, ascending);
        }

        #[test]
        fn a_position_reads_back_only_in_its_direction(sequence in 0..i64::MAX as u64, ascending: bool) {
            let text = encode_position(sequence, ascending);
            prop_assert_eq!(decode_position(&text, ascending), Ok(sequence));
            prop_assert_eq!(decode_position(&text, !ascending), Err(MalformedPosition));
            prop_assert_eq!(decode_position(&encode_position(u64::MAX, ascending), ascending), Err(MalformedPosition));
        }
    }
}
