//! One request into a sandbox and its answer back.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sandscope_agent_protocol::AGENT_PORT;

use crate::connections::Connection;
use crate::{Inner, Target, answer};

const TRAFFIC_TOKEN_HEADER: &str = "e2b-traffic-access-token";

/// Routes of the agent that only the server itself may call.
const RESERVED: [&str; 4] = ["/init", "/freeze", "/unfreeze", "/collapse"];

/// How our own API keys start: they must not reach code inside a sandbox, while a user's own program may well use the
/// same header for keys of its own.
const API_KEY_PREFIX: &[u8] = b"e2b_";
const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// Headers that belong to one connection and not to the request (RFC 9110, section 7.6.1), with those that only
/// proxies use.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
];

pub(crate) async fn forward(edge: &Inner, target: Target, mut request: Request<Body>) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return answer::no_tunnels(&target);
    }
    let path = request.uri().path().to_owned();
    if target.port == AGENT_PORT && RESERVED.contains(&path.trim_end_matches('/')) {
        return answer::reserved(&path);
    }
    let Some(sandbox) = edge.lifecycle.sandbox(&target.id).await else { return answer::not_found(&target) };
    if target.port != AGENT_PORT
        && let Some(token) = &sandbox.spec.traffic_access_token
    {
        match request.headers().get(TRAFFIC_TOKEN_HEADER) {
            None => return answer::traffic_token(&target, TRAFFIC_TOKEN_HEADER, "missing"),
            Some(given) if !same(given.as_bytes(), token.expose().as_bytes()) => {
                return answer::traffic_token(&target, TRAFFIC_TOKEN_HEADER, "invalid");
            }
            Some(_) => {}
        }
    }
    let Some(connection) = edge.connections.take(&target) else {
        return answer::too_many_connections(&target, edge.connections.limit());
    };
    let dialed = match edge.lifecycle.dial(&target.id, target.port).await {
        Ok(dialed) => dialed,
        Err(error) => return answer::dial_failed(&target, &error),
    };
    // Answers come in small pieces that somebody waits for. Where the socket refuses it, they come later.
    let _ = dialed.stream.set_nodelay(true);
    let Ok((mut sender, inside)) = http1::handshake::<_, Body>(TokioIo::new(dialed.stream)).await else {
        return answer::broken_off(&target);
    };
    // Ends with the request: when the answer's body is done or dropped, or the sandbox closes.
    tokio::spawn(inside.with_upgrades());

    let upgrade = wants_upgrade(request.headers());
    let outside = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    prepare(&mut request, upgrade);
    let response = match sender.send_request(request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(sandbox_id = %target.id, port = target.port, %error, "no answer from inside");
            let gone = edge.lifecycle.sandbox(&target.id).await.is_none();
            return if gone { answer::not_found(&target) } else { answer::broken_off(&target) };
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && outside.is_none() {
        tracing::debug!(sandbox_id = %target.id, port = target.port, "a switch of protocols nobody asked for");
        return answer::broken_off(&target);
    }
    respond(response, outside, connection)
}

/// Compares in time that depends only on the lengths.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

/// The protocol the client wants to switch to, if it does.
fn wants_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let names = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asked =
        names.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| asked).cloned()
}

/// Makes the client's request one of our own on the new connection.
fn prepare(request: &mut Request<Body>, upgrade: Option<HeaderValue>) {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    strip_connection_headers(request.headers_mut());
    let headers = request.headers_mut();
    headers.remove(TRAFFIC_TOKEN_HEADER);
    for name in [API_KEY_HEADER, AUTHORIZATION] {
        if headers.get_all(&name).iter().any(is_api_key) {
            headers.remove(name);
        }
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    // HTTP/2 names the host in the URI only.
    if !headers.contains_key(HOST)
        && let Some(host) = authority.and_then(|authority| HeaderValue::from_str(&authority).ok())
    {
        headers.insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
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

/// Removes what belongs to the connection, and what its `Connection` header says belongs to it.
fn strip_connection_headers(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&listed) {
        headers.remove(name);
    }
}

fn respond(
    mut response: http::Response<Incoming>,
    outside: Option<OnUpgrade>,
    connection: Connection,
) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(outside) = outside
    {
        let inside = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let _counted = connection;
            if let (Ok(outside), Ok(inside)) = tokio::join!(outside, inside) {
                let (mut outside, mut inside) = (TokioIo::new(outside), TokioIo::new(inside));
                // Ends once both directions have, or either breaks; there is nobody to tell.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
        return response.map(|_| Body::empty());
    }
    // 426 names the protocol to upgrade to in the very header that otherwise belongs to the connection.
    let wanted = response
        .headers()
        .get(UPGRADE)
        .filter(|_| response.status() == StatusCode::UPGRADE_REQUIRED)
        .cloned();
    strip_connection_headers(response.headers_mut());
    if let Some(protocol) = wanted {
        response.headers_mut().insert(UPGRADE, protocol);
    }
    response.map(|body| Body::new(Counted { body, _connection: connection }))
}

/// An answer's body that counts as a connection until it is done or dropped.
struct Counted {
    body: Incoming,
    _connection: Connection,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_connection_or_to_the_control_plane_stays_outside() {
        let mut request = Request::builder()
            .uri("http://3000-x.example/a?b=c")
            .header("connection", "close, x-mine")
            .header("x-mine", "1")
            .header("x-api-key", "e2b_0")
            .header("e2b-traffic-access-token", "t")
            .header("keep-alive", "timeout=5")
            .header("x-access-token", "kept")
            .body(Body::empty())
            .unwrap();
        prepare(&mut request, None);
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-access-token", "host"]);
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "3000-x.example");
    }

    #[test]
    fn our_keys_stay_outside_however_they_come() {
        let kept = |headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut request = request.body(Body::empty()).unwrap();
            prepare(&mut request, None);
            request.headers().len()
        };
        assert_eq!(kept(&[("x-api-key", "mine"), ("X-API-Key", "e2b_0")]), 0);
        assert_eq!(kept(&[("x-api-key", "  e2b_0")]), 0);
        assert_eq!(kept(&[("authorization", "bearer  e2b_0")]), 0);
        let theirs = [("x-api-key", "mine"), ("authorization", "Bearer theirs")];
        assert_eq!(kept(&theirs), 2);
        assert_eq!(kept(&[("authorization", "Basic dXNlcjo=")]), 1);
    }

    #[test]
    fn an_upgrade_is_passed_on() {
        let mut request = Request::builder()
            .uri("/ws")
            .header("connection", "Keep-Alive, Upgrade")
            .header("upgrade", "websocket")
            .body(Body::empty())
            .unwrap();
        let upgrade = wants_upgrade(request.headers());
        prepare(&mut request, upgrade);
        assert_eq!(request.headers()[UPGRADE], "websocket");
        assert_eq!(request.headers()[CONNECTION], "upgrade");
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"abcd"));
        assert!(!same(b"", b"a"));
    }
}
