//! Keys of the API's JSON are spelled in one place, `wire`. The API writes them in camelCase and the code does not, so a
//! text that is one word in camelCase is such a key: a literal, or the style that an attribute asks serde for.
//!
//! Keys of a single word (`name`) and the bodies' snake_case twins look like any other text; this check cannot see them.

use super::source::Source;

/// Crates, folders and files that may spell keys, and why.
const SPELLERS: &[(&str, &str)] = &[
    ("crates/agent-protocol/src/", "the agent has a protocol of its own"),
    ("crates/api/src/endpoints/", "parameters of paths and queries; refusals name the field"),
    ("crates/api/src/event_filter.rs", "parameters of queries"),
    ("crates/api/src/query.rs", "parameters of queries"),
    ("crates/bench/src/wire.rs", "looks into an answer of the agent"),
    ("crates/cli/src/", "prints answers, and sends what its flags say"),
    ("crates/client/src/", "reads the API as anybody's client would, without the server's types"),
    ("crates/edge/src/answer.rs", "bodies of the edge, which are the original's"),
    ("crates/edge/src/page.rs", "shows these bodies to browsers"),
    ("crates/model/src/alert.rs", "names of metrics: the same in configuration, API and store"),
    ("crates/wire/src/", "this is what it is for"),
];

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    check(sources, SPELLERS)
}

fn check(sources: &[Source], spellers: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut needed = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("crates/")) {
        let speller = spellers.iter().find(|(prefix, _)| source.path.starts_with(prefix));
        for (n, line) in source.shipped() {
            let Some(key) = key(line) else { continue };
            match speller {
                Some((prefix, _)) => needed.push(*prefix),
                None => faults.push(format!(
                    "{}:{n}: {key:?} is spelled like a key of the API: let `wire` spell it",
                    source.path
                )),
            }
        }
    }
    let left = spellers.iter().filter(|(prefix, _)| !needed.contains(prefix));
    faults.extend(left.map(|(prefix, _)| format!("{prefix} spells no key: take it out of keys.rs")));
    faults
}

/// The first word in camelCase between quotes, escaped ones included.
fn key(line: &str) -> Option<&str> {
    let mut parts = line.split('"').map(|part| part.strip_suffix('\\').unwrap_or(part));
    // The first and the last part are not between quotes.
    parts.next();
    let mut last = parts.next()?;
    for part in parts {
        if is_camel_case(last) {
            return Some(last);
        }
        last = part;
    }
    None
}

/// Two small letters at least before the first capital: `kB` and `vCPUs` are units.
fn is_camel_case(text: &str) -> bool {
    let n_small = text.bytes().take_while(u8::is_ascii_lowercase).count();
    let rest = &text[n_small..];
    n_small >= 2
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && rest.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(path: &str, line: &str, spellers: &[(&str, &str)]) -> Vec<String> {
        check(&[Source::new(path, format!("{line}\n"))], spellers)
    }

    #[test]
    fn a_key_is_seen_as_a_literal_in_an_attribute_and_within_json() {
        for line in [
            "#[serde(rename_all = \"camelCase\")]",
            "#[serde(rename = \"sandboxID\", default)]",
            "let data = body[\"eventData\"].take();",
            "text.contains(\"\\\"exitCode\\\":0\")",
        ] {
            assert_eq!(faults_of("crates/store/src/a.rs", line, &[]).len(), 1, "{line}");
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for line in [
            "let unit = \"kB\";",
            "println!(\"sandboxID of a sandbox\");",
            "#[serde(rename_all = \"snake_case\")]",
            "let eventData = \"event\";",
            "/// `\"eventData\"` of an event",
            "[\"a\"].map(isCamel).join(\"b\")",
        ] {
            assert!(faults_of("crates/store/src/a.rs", line, &[]).is_empty(), "{line}");
        }
        assert!(faults_of("crates/store/src/a_tests.rs", "body[\"eventData\"]", &[]).is_empty());
    }

    #[test]
    fn who_may_spell_keys_has_to() {
        let spellers = [("crates/wire/src/", "x")];
        assert!(faults_of("crates/wire/src/a.rs", "body[\"eventData\"]", &spellers).is_empty());
        assert_eq!(faults_of("crates/wire/src/a.rs", "fn a() {}", &spellers).len(), 1);
    }
}
