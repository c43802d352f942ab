//! The edge's answers as a page, for people. It runs no script, loads nothing, and shows what came from outside as
//! text only.

use std::fmt::Write as _;

use http::StatusCode;
use serde_json::Value;

/// What the page may do: apply its own style.
pub(crate) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors *";

const LAYOUT: &str = include_str!("page.html");

/// The page for an answer with these fields.
pub(crate) fn render(status: StatusCode, body: &Value) -> String {
    let mut facts = String::new();
    for (name, label) in
        [("sandboxId", "Sandbox"), ("port", "Port"), ("path", "Path"), ("connectionLimit", "Connections")]
    {
        let text = match &body[name] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // Writing to a string does not fail.
        let _ = write!(facts, "<dt>{label}</dt><dd>{}</dd>", escape(&text));
    }
    let message = body["message"].as_str().unwrap_or_default();
    // One pass each, the trusted ones first: what is filled in last cannot name a place to fill.
    LAYOUT
        .replace("{{status}}", status.as_str())
        .replace("{{hint}}", hint(status))
        .replace("{{facts}}", &facts.replace("{{", "{ {"))
        .replace("{{message}}", &escape(message))
}

/// What a person can do about it.
fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_GATEWAY => {
            "Sandboxes end when their time is up. If this one should be running, see that its program listens on this \
             port."
        }
        StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => "Reload the page in a few seconds.",
        StatusCode::TOO_MANY_REQUESTS => "Try again once others are done.",
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "The owner of the sandbox can give you access.",
        _ => "Check the address.",
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_from_outside_is_only_text() {
        let body = json!({
            "sandboxId": "i0",
            "port": 3000,
            "path": "/<script>alert(1)</script>{{message}}",
            "message": "a < b & \"c\" {{facts}}",
        });
        let page = render(StatusCode::BAD_GATEWAY, &body);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("/&lt;script&gt;alert(1)&lt;/script&gt;{ {message}}"), "{page}");
        assert!(page.contains("a &lt; b &amp; &quot;c&quot; {{facts}}"), "{page}");
        assert!(page.contains("<dt>Port</dt><dd>3000</dd>"), "{page}");
        assert!(page.contains("502"), "{page}");
    }
}
