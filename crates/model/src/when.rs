//! Times as people write and read them: one way in, one way out.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

const UNITS: [(&str, i64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// What [`parse`] takes, as part of an error or a help text.
pub const FORMS: &str = "a time (RFC 3339), seconds since 1970, or an age such as 90s, 10m, 1h30m, 2d";

/// `text` as a time: RFC 3339, whole seconds since 1970, or how long before `now`. `None` if it is none of these.
pub fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Timestamp::from_second(text.parse().ok()?).ok();
    }
    match duration_s(text) {
        Some(seconds) => now.checked_sub(SignedDuration::from_secs(seconds)).ok(),
        // A `+` of an offset that nobody escaped in a query string has become a space.
        None => text.parse().or_else(|_| text.replace(' ', "+").parse()).ok(),
    }
}

/// Seconds of numbers with units: `90s`, `1h30m`.
fn duration_s(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text, 0_i64);
    while !rest.is_empty() {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest.split_at_checked(n_digits)?;
        let (unit, unit_s) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(digits.parse::<i64>().ok()?.checked_mul(*unit_s)?)?;
        rest = after.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(total)
}

/// `at` in UTC, to the second: `2026-01-31 12:00:00Z`. [`parse`] reads it.
pub fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `at` in UTC, to the millisecond: `2026-01-31 12:00:00.250Z`. [`parse`] reads it.
pub fn millisecond(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

/// A length of time in its two largest units: `45s`, `4m 10s`, `3h 5m`, `2d 4h`.
pub fn length(duration: SignedDuration) -> String {
    let mut left = duration.as_secs().unsigned_abs();
    let mut text = String::new();
    let mut n_units = 0;
    for (unit, unit_s) in UNITS.into_iter().skip(1) {
        let unit_s = unit_s.unsigned_abs();
        let n = left / unit_s;
        left %= unit_s;
        if n_units > 0 {
            n_units += 1;
            if n > 0 {
                // Writing to a string cannot fail.
                let _ = write!(text, " {n}{unit}");
            }
        } else if n > 0 || unit == "s" {
            n_units = 1;
            let _ = write!(text, "{n}{unit}");
        }
        if n_units == 2 {
            break;
        }
    }
    text
}

/// Where `at` is, seen from `now`: `4m 10s ago`, `in 49m`, `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    match distance.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", length(distance)),
        ..0 => format!("{} ago", length(distance)),
    }
}

/// `2026-01-31 12:00:00Z (5m ago)`.
pub fn with_age(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", second(at), relative(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_taken_in_every_form() {
        let now = at("2026-01-31T12:00:00Z");
        for (text, expected) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.25+01:00", "2026-01-02T02:04:05.25Z"),
            ("2026-01-02T03:04:05 01:00", "2026-01-02T02:04:05Z"),
            ("1767323045", "2026-01-02T03:04:05Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("90s", "2026-01-31T11:58:30Z"),
            ("10m", "2026-01-31T11:50:00Z"),
            ("2h", "2026-01-31T10:00:00Z"),
            ("1h30m", "2026-01-31T10:30:00Z"),
            ("3d", "2026-01-28T12:00:00Z"),
            ("1w", "2026-01-24T12:00:00Z"),
        ] {
            assert_eq!(parse(text, now), Some(at(expected)), "{text}");
        }
        for bad in
            ["", "h", "10w5", "-1h", "1.5h", "99999999999d", "99999999999999999999", "é", "m10", "1 h", "now"]
        {
            assert_eq!(parse(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let time = at("2026-01-31T12:00:00.25Z");
        assert_eq!(second(time), "2026-01-31 12:00:00Z");
        assert_eq!(millisecond(time), "2026-01-31 12:00:00.250Z");
        assert_eq!(parse(&millisecond(time), Timestamp::UNIX_EPOCH), Some(time));
        assert_eq!(parse(&second(time), Timestamp::UNIX_EPOCH), Some(at("2026-01-31T12:00:00Z")));
    }

    #[test]
    fn ages_have_two_units_at_most() {
        let lengths = [0, 45, 60, 250, 3_600, 11_130, 86_400, 187_260, 8_640_000];
        let shown = lengths.map(|seconds| length(SignedDuration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "45s", "1m", "4m 10s", "1h", "3h 5m", "1d", "2d 4h", "100d"]);
        let now = at("2026-01-31T12:00:00Z");
        assert_eq!(relative(at("2026-01-31T11:55:50Z"), now), "4m 10s ago");
        assert_eq!(relative(at("2026-01-31T12:49:00Z"), now), "in 49m");
        assert_eq!(relative(now, now), "now");
        assert_eq!(with_age(at("2026-01-31T11:55:00Z"), now), "2026-01-31 11:55:00Z (5m ago)");
    }
}
