//! Who may call: the access token, or for files a signature made with it; and as which user.

use http::{HeaderMap, StatusCode, header};
use sandscope_agent_protocol::file_query::FileQuery;
use sandscope_agent_protocol::rest::{self, ACCESS_TOKEN_HEADER, UNAUTHORIZED_MESSAGE};
use sandscope_agent_protocol::signature::{self, Operation};
use sandscope_agent_protocol::{Code, ConnectError};

use crate::body::Refusal;
use crate::now;
use crate::settings::Settings;

/// Compares secrets in a time that does not depend on where they differ.
pub(crate) fn same_secret(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != expected.len());
    for (index, byte) in expected.iter().enumerate() {
        difference |= byte ^ given.get(index).copied().unwrap_or(0);
    }
    std::hint::black_box(difference) == 0
}

/// Whether the call carries the access token, where one is set.
pub(crate) fn check_token(settings: &Settings, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(expected) = &settings.access_token else {
        return Ok(());
    };
    match headers.get(ACCESS_TOKEN_HEADER) {
        Some(given) if same_secret(given.as_bytes(), expected.as_bytes()) => Ok(()),
        _ => Err(unauthorized(UNAUTHORIZED_MESSAGE)),
    }
}

/// Whether a file may be read or written: by the token, or by a signature for just this.
pub(crate) fn check_file(
    settings: &Settings,
    headers: &HeaderMap,
    query: &FileQuery,
    operation: Operation,
) -> Result<(), Refusal> {
    let Some(token) = &settings.access_token else {
        return Ok(());
    };
    if let Some(given) = headers.get(ACCESS_TOKEN_HEADER) {
        return if same_secret(given.as_bytes(), token.as_bytes()) {
            Ok(())
        } else {
            Err(unauthorized("access token present in header but does not match"))
        };
    }
    let Some(given) = &query.signature else {
        return Err(unauthorized("missing signature query parameter"));
    };
    let expires_at = match &query.signature_expiration {
        Some(text) => Some(text.parse::<i64>().map_err(|_| {
            Refusal::new(StatusCode::BAD_REQUEST, "signature_expiration must be a unix time in seconds")
        })?),
        None => None,
    };
    let path = query.path.as_deref().unwrap_or_default();
    let username = query.username.as_deref().unwrap_or_default();
    let expected = signature::v1(path, operation, username, token, expires_at);
    if !same_secret(given.as_bytes(), expected.as_bytes()) {
        return Err(unauthorized("invalid signature"));
    }
    match expires_at {
        Some(expires_at) if expires_at < now::unix_seconds() => {
            Err(unauthorized("signature is already expired"))
        }
        _ => Ok(()),
    }
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, message)
}

/// The user that `Authorization: Basic base64("name:")` names; `None` where there is no such header.
pub(crate) fn basic_user(headers: &HeaderMap) -> Result<Option<String>, ConnectError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(rest::basic_user) {
        Some(user) => Ok(Some(user)),
        None => {
            let message = "the Authorization header must be `Basic` with base64 of `user:`";
            Err(ConnectError::new(Code::Unauthenticated, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret(b"abc", b"abc"));
        for given in [&b""[..], b"ab", b"abcd", b"abd", b"abc\0"] {
            assert!(!same_secret(given, b"abc"), "{given:?}");
        }
    }

    #[test]
    fn users_in_the_authorization_header() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            basic_user(&headers)
        };
        assert_eq!(of("Basic cm9vdDo=").unwrap().as_deref(), Some("root"));
        assert_eq!(of("basic dXNlcjpwdw==").unwrap().as_deref(), Some("user"));
        for odd in ["Bearer x", "Basic", "Basic ***", "Basic cm9vdA=="] {
            assert_eq!(of(odd).unwrap_err().code, Code::Unauthenticated, "{odd}");
        }
        assert_eq!(basic_user(&HeaderMap::new()).unwrap(), None);
    }
}
