//! Connections that become something else than HTTP: WebSockets, and whatever a sandbox's program switches to.
//!
//! Two ways in: HTTP/1.1's `Upgrade`, of any protocol, and over HTTP/2 the extended CONNECT of RFC 8441, of WebSockets.
//! Inside it is always the former. Once switched, bytes are copied both ways until both sides have ended; one that
//! stops sending is passed on as such. A WebSocket has no halves: it is over when the program inside has closed it.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Extensions, Method, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::connections::Connection;
use crate::headers;

/// HTTP/2 has no such key, HTTP/1.1 asks for one. It guards against caches that mistake an old answer for a new one, of
/// which there is none between here and the sandbox, so that any will do.
const KEY: HeaderValue = HeaderValue::from_static("c2FuZHNjb3BlLmVkZ2UuMA==");

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a client wants its connection to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// HTTP/1.1: the named protocol.
    Switch(HeaderValue),
    /// HTTP/2: a WebSocket in one of its streams.
    Tunnel {
        /// Whether the client sent a key all the same, as some do; they then insist on the answer to it.
        has_key: bool,
    },
}

/// The client's side of a connection that is to become something else.
pub(crate) struct Outside {
    connection: OnUpgrade,
    /// What the server tied to the request: held for as long as the connection is used.
    _tied: Extensions,
}

impl Outside {
    pub(crate) fn of(request: &mut Request<Body>) -> Self {
        let connection = hyper::upgrade::on(&mut *request);
        Self { connection, _tied: request.extensions().clone() }
    }
}

impl Upgrade {
    pub(crate) fn wanted(request: &Request<Body>) -> Option<Self> {
        let protocol = request.extensions().get::<Protocol>();
        if request.method() == Method::CONNECT {
            let has_key = request.headers().contains_key(SEC_WEBSOCKET_KEY);
            return protocol
                .filter(|protocol| protocol.as_str() == "websocket")
                .map(|_| Self::Tunnel { has_key });
        }
        if request.version() > Version::HTTP_11 {
            return None;
        }
        let asked =
            headers::listed(request.headers(), CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
        request.headers().get(UPGRADE).filter(|_| asked).cloned().map(Self::Switch)
    }

    pub(crate) const fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tunnel { .. })
    }

    fn is_websocket(&self) -> bool {
        match self {
            Self::Switch(protocol) => protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()),
            Self::Tunnel { .. } => true,
        }
    }

    /// Makes `request` ask for it as HTTP/1.1 does.
    pub(crate) fn ask(&self, request: &mut Request<Body>) {
        let protocol = match self {
            Self::Switch(protocol) => protocol.clone(),
            Self::Tunnel { .. } => {
                *request.method_mut() = Method::GET;
                // What follows the head is the tunnel's, not a body.
                *request.body_mut() = Body::empty();
                let headers = request.headers_mut();
                headers.remove(http::header::TRANSFER_ENCODING);
                headers.entry(SEC_WEBSOCKET_KEY).or_insert(KEY);
                WEBSOCKET
            }
        };
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }

    /// The sandbox has switched: joins both connections and answers the client.
    pub(crate) fn complete(
        self,
        mut response: http::Response<Incoming>,
        outside: Option<Outside>,
        connection: Connection,
    ) -> Response<Body> {
        let inside = hyper::upgrade::on(&mut response);
        let is_websocket = self.is_websocket();
        if let Some(outside) = outside {
            tokio::spawn(async move {
                let _counted = connection;
                let Outside { connection: outside, _tied } = outside;
                if let (Ok(outside), Ok(inside)) = tokio::join!(outside, inside) {
                    // Ends once both directions have, or either breaks; there is nobody to report to.
                    let _ = join(TokioIo::new(outside), TokioIo::new(inside), is_websocket).await;
                }
            });
        }
        if let Self::Tunnel { has_key } = self {
            headers::strip_connection_headers(response.headers_mut());
            if !has_key {
                response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
            }
            *response.status_mut() = StatusCode::OK;
        }
        response.map(|_| Body::empty())
    }
}

/// Copies both ways until both have ended, or, of what `ends_inside`, until the side inside has.
async fn join(
    mut outside: TokioIo<Upgraded>,
    mut inside: TokioIo<Upgraded>,
    ends_inside: bool,
) -> std::io::Result<()> {
    if !ends_inside {
        return tokio::io::copy_bidirectional(&mut outside, &mut inside).await.map(drop);
    }
    let (mut from_outside, mut to_outside) = tokio::io::split(outside);
    let (mut from_inside, mut to_inside) = tokio::io::split(inside);
    let inwards = async {
        tokio::io::copy(&mut from_outside, &mut to_inside).await?;
        to_inside.shutdown().await?;
        std::future::pending().await
    };
    let outwards = async {
        tokio::io::copy(&mut from_inside, &mut to_outside).await?;
        to_outside.shutdown().await
    };
    tokio::select! {
        broken = inwards => broken,
        ended = outwards => ended,
    }
}
