use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that says where the next page starts.
pub(super) fn next_token(token: Option<String>) -> HeaderMap {
    let value = token.and_then(|token| HeaderValue::try_from(token).ok());
    value.map(|value| (HeaderName::from_static("x-next-token"), value)).into_iter().collect()
}
