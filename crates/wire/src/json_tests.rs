use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn numbers_are_written_as_javascript_and_python_write_them_again() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (99.5, "99.5"),
        (12.34, "12.34"),
        (0.0001, "0.0001"),
        (0.000_01, "0"),
        (1.0 / 3.0, "0.3333"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (123_456_789.123_456, "123456789.1235"),
    ] {
        assert_eq!(to_string(&json!({ "n": number })).unwrap(), format!("{{\"n\":{text}}}"));
        assert_eq!(to_string(&number).unwrap(), text);
    }
    assert_eq!(to_string(&f64::NAN).unwrap(), "null");
    assert_eq!(to_string(&2.5_f32).unwrap(), "2.5");
    assert_eq!(
        to_string(&json!({"a": "ü\u{7f}\u{1}\n\"", "b": [1, null, true]})).unwrap(),
        "{\"a\":\"ü\u{7f}\\u0001\\n\\\"\",\"b\":[1,null,true]}"
    );
}

#[test]
fn keys_of_signed_bodies_are_in_javascripts_order() {
    let value =
        json!({"b": 1, "10": {"z": 0, "1": 1}, "2": [{"9": 0, "!": 1}], "01": 4, "-1": 5, "4294967295": 6});
    let text = String::from_utf8(signed(&value)).unwrap();
    assert_eq!(text, r#"{"2":[{"9":0,"!":1}],"10":{"1":1,"z":0},"-1":5,"01":4,"4294967295":6,"b":1}"#);
}

proptest! {
    /// Shortest digits, no exponent, no fraction of a whole number: what both languages print for what they read.
    #[test]
    fn any_number_is_written_without_exponent_and_reads_back_as_what_was_written(number: f64) {
        let text = to_string(&number).unwrap();
        prop_assume!(number.is_finite() && number.abs() <= MAX_SAFE_INTEGER);
        prop_assert!(!text.contains(['e', 'E']) && !text.ends_with(".0"), "{}", text);
        let read: f64 = text.parse().unwrap();
        prop_assert!((read - number).abs() <= 0.000_051_f64.max(number.abs() * f64::EPSILON));
        prop_assert_eq!(to_string(&read).unwrap(), text);
    }
}
