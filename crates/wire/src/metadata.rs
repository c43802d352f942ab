//! The `metadata` filter of the sandbox lists, which clients encode three times.
//!
//! Each key and value is percent-encoded, then encoded again as a form, then once more as part of the URL. After the
//! ordinary query decoding `v w` is still `v%2520w`: the text is decoded once whole, split at `&` and `=`, and each
//! part decoded again.

use percent_encoding::percent_decode_str;

/// The filter cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("metadata is not a valid filter: expected percent-encoded `key=value` pairs joined by `&`")]
pub struct MalformedFilter;

/// Reads a filter from which the ordinary query decoding has already been taken off.
///
/// # Errors
/// [`MalformedFilter`] if an escape sequence is incomplete or not UTF-8.
pub fn decode_filter(text: &str) -> Result<Vec<(String, String)>, MalformedFilter> {
    let whole = unescape(text)?;
    whole
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((unescape(key)?, unescape(value)?))
        })
        .collect()
}

/// Like [`decode_filter`], but pairs that are not encoded any further are taken as they are: `key=100%`.
pub fn decode_filter_or_plain(text: &str) -> Vec<(String, String)> {
    decode_filter(text).unwrap_or_else(|MalformedFilter| {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    })
}

/// Percent-decoding as forms do it: `+` is a space, and a `%` must start an escape.
fn unescape(text: &str) -> Result<String, MalformedFilter> {
    let bytes = text.as_bytes();
    let escapes_are_whole = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_are_whole {
        return Err(MalformedFilter);
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(Into::into).map_err(|_| MalformedFilter)
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_recorded_filters_are_read() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(decode_filter("k=v%2520w"), Ok(vec![pair("k", "v w")]));
        assert_eq!(decode_filter("a%2520b=c%2526d"), Ok(vec![pair("a b", "c&d")]));
        assert_eq!(decode_filter("user=1&app=x"), Ok(vec![pair("user", "1"), pair("app", "x")]));
        assert_eq!(decode_filter(""), Ok(vec![]));
        assert_eq!(decode_filter("a"), Ok(vec![pair("a", "")]));
        assert_eq!(decode_filter("%zz"), Err(MalformedFilter));
        assert_eq!(decode_filter("%25%32"), Err(MalformedFilter));
        assert_eq!(decode_filter_or_plain("a=100%&b"), vec![pair("a", "100%"), pair("b", "")]);
        assert_eq!(decode_filter_or_plain("k=v%2520w"), vec![pair("k", "v w")]);
    }

    proptest! {
        #[test]
        fn what_clients_encode_comes_back(pairs in prop::collection::vec((".+", ".*"), 0..5)) {
            let encode = |text: &str| {
                let once = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                utf8_percent_encode(&once, NON_ALPHANUMERIC).to_string()
            };
            let text: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            prop_assert_eq!(decode_filter(&text.join("&")), Ok(pairs));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = decode_filter(&text);
        }
    }
}
