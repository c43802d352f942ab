//! What a client's SDK says about itself.

use http::HeaderMap;

/// The first SDKs, of either language, that know of sandboxes' tokens. They say with each create whether they want one,
/// or send the one they are given.
const FIRST_WITH_TOKENS: (u32, u32) = (1, 5);

/// Whether the request comes from an official SDK of before tokens, which could not use a sandbox that asks for one.
pub(crate) fn is_before_tokens(headers: &HeaderMap) -> bool {
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let version = says("package_version").filter(|_| says("publisher") == Some("e2b"));
    version.and_then(numbers).is_some_and(|version| version < FIRST_WITH_TOKENS)
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_the_official_sdks_of_then_count() {
        let is_before = |headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_before_tokens(&headers.collect())
        };
        for version in ["1.0.0", "1.4.0", "1.3.5", "0.17.2"] {
            assert!(is_before(&[("publisher", "e2b"), ("package_version", version)]), "{version}");
            assert!(!is_before(&[("package_version", version)]), "{version}");
        }
        for version in ["1.5.0", "1.11.1", "2.0.2", "2.63.0", "", "1", "one.two", "1.x"] {
            assert!(!is_before(&[("publisher", "e2b"), ("package_version", version)]), "{version}");
        }
        assert!(!is_before(&[]));
    }
}
