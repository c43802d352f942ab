//! What a client attaches to a sandbox, and events copy, is bounded.

use http::StatusCode;
use sandscope_model::TeamLimits;
use serde_json::{Map, Value, json};

use super::door::{Door, KEY};

/// `n` pairs of `n_bytes` bytes in all.
fn pairs(n: usize, n_bytes: usize) -> Value {
    let mut pairs: Map<String, Value> = (1..n).map(|i| (format!("{i:03}"), "".into())).collect();
    pairs.insert("000".to_owned(), "x".repeat(n_bytes - 3 * n).into());
    pairs.into()
}

#[tokio::test]
async fn labels_and_environment_have_a_number_and_a_size() {
    let door = Door::with_limits(TeamLimits::default()).await;
    let size = |what: &str, most: usize| {
        format!("{what}: names and values must be at most {most} bytes together, not {}", most + 1)
    };
    for (what, most) in [("metadata", 16 * 1024), ("envVars", 128 * 1024)] {
        let number = format!("{what}: must be at most 128 pairs, not 129");
        for (given, refusal) in [
            (pairs(1, most), None),
            (pairs(128, most), None),
            (pairs(129, 1_000), Some(number)),
            (pairs(1, most + 1), Some(size(what, most))),
            (pairs(128, most + 1), Some(size(what, most))),
        ] {
            for path in ["/sandboxes", "/v2/sandboxes"] {
                let body = json!({"templateID": "base", what: given}).to_string();
                let answer = door.ask(Some(KEY), "POST", path, &body).await;
                match &refusal {
                    None => assert_eq!(answer.status, StatusCode::CREATED, "{what}: {}", answer.body),
                    Some(words) => {
                        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}");
                        assert_eq!(answer.body["message"], words.as_str());
                    }
                }
            }
        }
    }
}
