//! An answer from inside on its way out: made one of our own, and kept from reaching beyond its sandbox.
//!
//! A browser lets a page set cookies for every parent of its own host, and `Clear-Site-Data` empties what belongs to the
//! whole domain: programs would reach other sandboxes and whatever else is served there. Cookies for the sandbox's own
//! host pass.
//!
//! What a program says bit by bit is for its client now: an answer whose length nobody knows asks proxies not to wait
//! for more of it.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::headers::{self, listed, strip_connection_headers};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// nginx and those that follow it: pass on what comes.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The media type of answers that are nothing but events as they happen.
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// The answer is coded in a way that hyper does not undo: its bytes would reach the client as something else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForeignCoding;

/// Makes the answer from inside to a request for `host` one of our own.
pub(crate) fn prepare<B>(response: &mut Response<B>, host: &str) -> Result<(), ForeignCoding> {
    let is_upgrade = response.status() == StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    if listed(headers, TRANSFER_ENCODING).any(|coding| !coding.eq_ignore_ascii_case("chunked")) {
        return Err(ForeignCoding);
    }
    // 426 names the protocol to upgrade to in the very header that otherwise belongs to the connection.
    let wanted = headers.get(UPGRADE).filter(|_| is_upgrade).cloned();
    strip_connection_headers(headers);
    if let Some(protocol) = wanted {
        headers.insert(UPGRADE, protocol);
    }
    headers::name_length_once(headers);
    keep_within(headers, host);
    if !headers.contains_key(CONTENT_LENGTH) {
        ask_not_to_buffer(headers);
    }
    Ok(())
}

/// Takes off what would reach beyond `host`.
pub(crate) fn keep_within(headers: &mut HeaderMap, host: &str) {
    headers.remove(CLEAR_SITE_DATA);
    if headers.get_all(SET_COOKIE).iter().all(|cookie| is_for(cookie.as_bytes(), host)) {
        return;
    }
    let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies.into_iter().filter(|cookie| is_for(cookie.as_bytes(), host)) {
        headers.append(SET_COOKIE, cookie);
    }
}

/// Whether a cookie is for nothing but `host` and what is below it: each of its domains is that, or empty. Browsers go
/// by the last; those that do not must find no other.
fn is_for(cookie: &[u8], host: &str) -> bool {
    let mut attributes = cookie.split(|byte| *byte == b';').skip(1);
    attributes.all(|attribute| {
        let mut parts = attribute.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let value = parts.next().unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b".").unwrap_or(value);
        !name.eq_ignore_ascii_case(b"domain")
            || value.is_empty()
            || value.eq_ignore_ascii_case(host.as_bytes())
    })
}

fn ask_not_to_buffer(headers: &mut HeaderMap) {
    headers.entry(BUFFERING).or_insert(HeaderValue::from_static("no"));
    let media_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_events =
        media_type.get(..EVENT_STREAM.len()).is_some_and(|it| it.eq_ignore_ascii_case(EVENT_STREAM));
    let is_said = listed(headers, CACHE_CONTROL).any(|it| it.eq_ignore_ascii_case("no-transform"));
    if is_events && !is_said {
        // Compressed events wait in the compressor.
        headers.append(CACHE_CONTROL, HeaderValue::from_static("no-transform"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "3000-i0.sandboxes.example";

    fn prepared(status: u16, headers: &[(&str, &str)]) -> Result<Vec<String>, ForeignCoding> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let mut response = response.body(()).unwrap();
        prepare(&mut response, HOST)?;
        let lines = response.headers().iter();
        Ok(lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect())
    }

    #[test]
    fn an_answer_that_asks_for_an_upgrade_still_names_it() {
        let given = [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("trailer", "x-sum"),
            ("content-length", "0"),
        ];
        assert_eq!(prepared(200, &given).unwrap(), ["trailer: x-sum", "content-length: 0"]);
        assert_eq!(
            prepared(426, &given).unwrap(),
            ["trailer: x-sum", "content-length: 0", "upgrade: websocket"]
        );
    }

    #[test]
    fn cookies_stay_within_the_sandbox_that_sets_them() {
        let own = [
            "a=1",
            "a=1; Path=/; Secure; HttpOnly",
            "a=1; Domain=",
            "a=1; domain=3000-i0.sandboxes.example",
            "a=1; DOMAIN = .3000-I0.Sandboxes.Example ; Path=/",
            "domain=sandboxes.example; Path=/domain=x",
        ];
        let wider = [
            "a=1; Domain=sandboxes.example",
            "a=1; domain=.example",
            "a=1;DOMAIN=\tSandboxes.Example",
            "a=1; Domain=3000-i0.sandboxes.example; Domain=sandboxes.example",
            "a=1; Domain=sandboxes.example; Domain=",
            "a=1; Domain=other.example",
            "a=1; Domain=..",
        ];
        let cookies = own.into_iter().zip(wider).flat_map(|(own, wider)| [own, wider]);
        let given: Vec<_> = cookies.chain([wider[6]]).map(|cookie| ("set-cookie", cookie)).collect();
        let mut wanted: Vec<_> = own.iter().map(|cookie| format!("set-cookie: {cookie}")).collect();
        wanted.insert(0, "content-length: 1".to_owned());
        let given = [&[("content-length", "1"), ("clear-site-data", "\"cookies\"")], &*given].concat();
        assert_eq!(prepared(200, &given).unwrap(), wanted);
    }

    #[test]
    fn what_comes_bit_by_bit_is_not_to_be_kept_back() {
        assert_eq!(prepared(200, &[("content-length", "1")]).unwrap(), ["content-length: 1"]);
        assert_eq!(prepared(200, &[("content-type", "text/html")]).unwrap()[1..], ["x-accel-buffering: no"]);
        assert_eq!(prepared(200, &[("x-accel-buffering", "yes")]).unwrap(), ["x-accel-buffering: yes"]);
        let events = ("content-type", "Text/Event-Stream; charset=utf-8");
        let found = prepared(200, &[events, ("cache-control", "no-cache")]).unwrap();
        assert_eq!(
            found[1..],
            ["cache-control: no-cache", "cache-control: no-transform", "x-accel-buffering: no"]
        );
        let found = prepared(200, &[events, ("cache-control", "no-cache, no-transform")]).unwrap();
        assert_eq!(found[1..], ["cache-control: no-cache, no-transform", "x-accel-buffering: no"]);
    }

    #[test]
    fn lengths_are_named_once_and_codings_nobody_undoes_are_no_answer() {
        let twice = [("content-length", "03"), ("content-length", "3")];
        assert_eq!(prepared(200, &twice).unwrap(), ["content-length: 3"]);
        assert_eq!(prepared(200, &[("transfer-encoding", "gzip, chunked")]), Err(ForeignCoding));
        assert_eq!(prepared(200, &[("transfer-encoding", "Chunked")]).unwrap(), ["x-accel-buffering: no"]);
    }
}
