//! Headers on their way in and out: what belongs to one connection stays on it, what HTTP/2 says otherwise is said as
//! HTTP/1.1 does, and what is a secret of the control plane never gets inside.

use axum::body::Body;
use axum::extract::Request;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Uri, Version};
use hyper::body::Body as _;
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_agent_protocol::rest::ACCESS_TOKEN_HEADER;
use sandscope_model::Secret;
use subtle::ConstantTimeEq as _;

use crate::upgrade::Upgrade;

/// Header with the token that a sandbox's programs may be protected by.
pub(crate) const TRAFFIC_TOKEN: &str = "e2b-traffic-access-token";

/// Header with the operator's token.
const ADMIN_TOKEN: HeaderName = HeaderName::from_static("x-admin-token");

/// Where programs get the agent's token all the same: the code interpreter asks the agent with it, and its clients send
/// it there for that.
const CODE_INTERPRETER_PORT: u16 = 49999;

/// How our own API keys start: they must not reach code inside a sandbox, while a user's own program may well use the
/// same header for keys of its own.
const API_KEY_PREFIX: &[u8] = b"e2b_";
const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that belong to one connection and not to the message (RFC 9110, section 7.6.1), with those that only proxies
/// use.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
];

/// Makes the client's request one of our own on the new connection.
pub(crate) fn prepare(request: &mut Request<Body>, upgrade: Option<&Upgrade>) {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let takes_trailers = takes_trailers(request.headers());
    strip_connection_headers(request.headers_mut());
    frame(request);
    let headers = request.headers_mut();
    headers.remove(TRAFFIC_TOKEN);
    for name in [API_KEY_HEADER, AUTHORIZATION] {
        if headers.get_all(&name).iter().any(is_api_key) {
            headers.remove(name);
        }
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    join_cookies(headers);
    // HTTP/2 names the host in the URI only.
    if !headers.contains_key(HOST)
        && let Some(host) = authority.and_then(|authority| HeaderValue::from_str(&authority).ok())
    {
        headers.insert(HOST, host);
    }
    if let Some(upgrade) = upgrade {
        upgrade.ask(request);
    }
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
}

/// Takes off tokens that open more than the program which would read them: the operator's, and, but for the agent
/// itself and the code interpreter, the one that opens the sandbox's agent. The same names with other values are the
/// programs' own.
pub(crate) fn keep_back_tokens(
    headers: &mut HeaderMap,
    port: u16,
    access: Option<&Secret>,
    admin: Option<&Secret>,
) {
    let access = access.filter(|_| ![AGENT_PORT, CODE_INTERPRETER_PORT].contains(&port));
    for (name, token) in [(HeaderName::from_static(ACCESS_TOKEN_HEADER), access), (ADMIN_TOKEN, admin)] {
        let is_it =
            |value: &HeaderValue| token.is_some_and(|token| is_same(value.as_bytes().trim_ascii(), token));
        if headers.get_all(&name).iter().any(is_it) {
            headers.remove(&name);
        }
    }
}

/// Compares in a time that depends only on the lengths.
pub(crate) fn is_same(given: &[u8], wanted: &Secret) -> bool {
    given.ct_eq(wanted.expose().as_bytes()).into()
}

/// Shows a program inside the host its owner wished, `${PORT}` filled in, and beside it the one that was asked for.
pub(crate) fn mask_host(headers: &mut HeaderMap, mask: &str, port: u16) {
    // Checked when the sandbox was made.
    let Ok(host) = HeaderValue::try_from(mask.replace("${PORT}", &port.to_string())) else { return };
    if let Some(asked) = headers.insert(HOST, host)
        && !headers.contains_key(&FORWARDED_HOST)
    {
        headers.insert(FORWARDED_HOST, asked);
    }
}

/// Removes what belongs to the connection, and what its `Connection` header says belongs to it.
pub(crate) fn strip_connection_headers(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = listed(headers, CONNECTION).filter_map(|name| name.parse().ok()).collect();
    for name in HOP_BY_HOP.iter().chain(&listed) {
        headers.remove(name);
    }
}

/// The members of the comma-separated lists under `name`.
pub(crate) fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether the client can take headers that follow a body.
fn takes_trailers(headers: &HeaderMap) -> bool {
    listed(headers, TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// A body whose length is not known ahead is sent in chunks, also with the methods that hardly ever have one.
fn frame(request: &mut Request<Body>) {
    let body = request.body();
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        request.headers_mut().remove(CONTENT_LENGTH);
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else {
        // Trailers need chunks.
        request.headers_mut().remove(TRAILER);
        name_length_once(request.headers_mut());
    }
}

/// A length is passed on once and in plain digits: hyper takes `03` and `3, 3` for 3, what reads it next may not.
pub(crate) fn name_length_once(headers: &mut HeaderMap) {
    let length = listed(headers, CONTENT_LENGTH).next().and_then(|digits| digits.parse::<u64>().ok());
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// HTTP/2 may send cookies one by one, HTTP/1.1 must have them in one line (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Whether it is a key of ours, in one of the two ways that the control plane takes one.
fn is_api_key(value: &HeaderValue) -> bool {
    let value = value.as_bytes().trim_ascii();
    let token = match value.split_first_chunk::<7>() {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
        _ => value,
    };
    token.starts_with(API_KEY_PREFIX)
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
