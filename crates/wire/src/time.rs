//! Times as the wire writes them: RFC 3339, UTC, ending in `Z`.

use sandscope_model::Timestamp;

/// `at` cut to the second, for the keys that carry no fraction.
pub fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_is_dropped_and_the_text_ends_in_z() {
        let at: Timestamp = "2025-08-06T20:59:24.987654321Z".parse().unwrap();
        assert_eq!(to_second(at).to_string(), "2025-08-06T20:59:24Z");
        assert_eq!(at.to_string(), "2025-08-06T20:59:24.987654321Z");
    }
}
