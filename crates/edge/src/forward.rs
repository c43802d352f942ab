//! One request into a sandbox and its answer back.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_agent_protocol::rest::ACCESS_TOKEN_HEADER;
use sandscope_lives::{Duplex, Waking};
use sandscope_model::{Sandbox, StateName};

use crate::answer::Answer;
use crate::connections::Connection;
use crate::headers::{self, TRAFFIC_TOKEN, is_same};
use crate::route::{self, FILES_PATH};
use crate::signed::Claim;
use crate::upgrade::{Outside, Upgrade};
use crate::{Inner, Target, response, sent};

/// Routes of the agent that only the server itself may call.
const RESERVED: [&str; 5] =
    ["/init", "/freeze", "/unfreeze", "/collapse", sandscope_agent_protocol::logs::PATH];

/// Bytes to and from a port of a sandbox.
type Stream = TokioIo<Box<dyn Duplex>>;

pub(crate) async fn carry(
    edge: &Inner,
    target: &Target,
    mut request: Request<Body>,
) -> Result<Response<Body>, Answer> {
    let upgrade = Upgrade::wanted(&request);
    let asks_for_the_head = request.method() == Method::HEAD;
    if request.method() == Method::CONNECT && upgrade.is_none() {
        return Err(Answer::no_tunnels(target));
    }
    let path = request.uri().path();
    if target.port == AGENT_PORT && RESERVED.contains(&path.trim_end_matches('/')) {
        return Err(Answer::reserved(path));
    }
    let sandbox = edge.lives.sandbox(&target.id).await.ok_or_else(|| Answer::not_found(target))?;
    let waking = admit(edge, target, &sandbox, &request)?;
    let limit = edge.connections.limit();
    let connection =
        edge.connections.take(target).ok_or_else(|| Answer::too_many_connections(target, limit))?;
    let dialed = edge.lives.dial(&target.id, target.port, waking).await;
    let token_header = if target.port == AGENT_PORT { ACCESS_TOKEN_HEADER } else { TRAFFIC_TOKEN };
    let stream = dialed.map_err(|error| Answer::dial_failed(target, &error, token_header))?.connection;
    // Names of headers as they came; of those that came without letters of their own kind, as HTTP/1.1 writes them.
    let shaken = http1::Builder::new()
        .preserve_header_case(true)
        .title_case_headers(true)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await;
    let (mut sender, inside) = shaken.map_err(|_| Answer::broken_off(target))?;
    let mut inside = Inside::of(inside, request.body().is_end_stream() && upgrade.is_none());
    let outside = upgrade.is_some().then(|| Outside::of(&mut request));
    let host = route::host(request.uri(), request.headers()).unwrap_or_default().to_owned();
    let mask = sandbox.spec.network.as_ref().and_then(|network| network.mask_request_host.as_deref());
    headers::prepare(&mut request, upgrade.as_ref());
    let access_token = sandbox.spec.envd_access_token.as_ref();
    headers::keep_back_tokens(request.headers_mut(), target.port, access_token, edge.admin_token.as_ref());
    if target.port != AGENT_PORT
        && let Some(mask) = mask
    {
        headers::mask_host(request.headers_mut(), mask, target.port);
    }
    let (parts, body) = request.into_parts();
    let (body, broken) = sent::watched(body);
    let mut response = match inside.drive(sender.send_request(Request::from_parts(parts, body))).await {
        Ok(response) => response,
        Err(_) if broken.is_set() => return Err(Answer::broken_request()),
        Err(error) => {
            tracing::debug!(sandbox_id = %target.id, port = target.port, %error, "no answer from inside");
            let gone = edge.lives.sandbox(&target.id).await.is_none();
            return Err(if gone { Answer::not_found(target) } else { Answer::broken_off(target) });
        }
    };
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match upgrade {
        Some(upgrade) if switched => {
            response::keep_within(response.headers_mut(), &host);
            Ok(upgrade.complete(response, outside, connection))
        }
        None if switched => {
            tracing::debug!(sandbox_id = %target.id, port = target.port, "a switch nobody asked for");
            Err(Answer::broken_off(target))
        }
        // Of a tunnel, success would say that it is open.
        Some(upgrade) if upgrade.is_tunnel() && response.status().is_success() => {
            Err(Answer::broken_off(target))
        }
        _ => {
            response::prepare(&mut response, &host).map_err(|_| Answer::foreign_coding(target))?;
            // What is not sent has no length by itself: nobody must say that it is none.
            let unsent = asks_for_the_head || response.status() == StatusCode::NOT_MODIFIED;
            let is_told = !unsent || response.headers().contains_key(CONTENT_LENGTH);
            Ok(response.map(|body| Body::new(Counted { body, is_told, inside, _connection: connection })))
        }
    }
}

/// Whether the caller may come in at all (ports of programs may ask for the traffic token), and whether they may resume
/// the sandbox: who could not use a port may not wake it either, or anybody who knows an id could keep a sandbox awake.
fn admit(
    edge: &Inner,
    target: &Target,
    sandbox: &Sandbox,
    request: &Request<Body>,
) -> Result<Waking, Answer> {
    let headers = request.headers();
    if target.port == AGENT_PORT {
        let Some(token) = &sandbox.spec.envd_access_token else { return Ok(Waking::Allowed) };
        let allowed = match token_given(headers, ACCESS_TOKEN_HEADER) {
            Some(given) => is_same(given, token),
            None => is_signed(edge, sandbox, request),
        };
        if allowed {
            (edge.key_shown)(request.extensions());
        }
        return Ok(if allowed { Waking::Allowed } else { Waking::Refused });
    }
    let Some(token) = &sandbox.spec.traffic_access_token else { return Ok(Waking::Allowed) };
    let sleeps = matches!(sandbox.state.name(), StateName::Paused | StateName::Pausing);
    match token_given(headers, TRAFFIC_TOKEN) {
        Some(given) if is_same(given, token) => {
            (edge.key_shown)(request.extensions());
            Ok(Waking::Allowed)
        }
        _ if sleeps && sandbox.spec.auto_resume => Err(Answer::may_not_resume(target, TRAFFIC_TOKEN)),
        given => {
            let fault = if given.is_some() { "invalid" } else { "missing" };
            Err(Answer::traffic_token(target, TRAFFIC_TOKEN, fault))
        }
    }
}

fn token_given<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

/// Whether it is a request for a file, signed with this sandbox's token.
fn is_signed(edge: &Inner, sandbox: &Sandbox, request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.uri().path() == FILES_PATH
        && Claim::read(request.method(), query, &*edge.clock).is_ok_and(|claim| claim.holds_for(sandbox))
}

/// The connection into the sandbox. Ends with the request: when the answer's body is done or dropped, or the sandbox
/// closes.
enum Inside {
    /// Where nothing is left to be sent, whoever waits for the answer drives it: no thread has to wake another for
    /// every piece of a download.
    Here(Pin<Box<http1::Connection<Stream, Body>>>),
    /// It has a task of its own, so that what is sent goes on where nobody reads the answer, or is over.
    Away,
}

impl Inside {
    fn of(connection: http1::Connection<Stream, Body>, is_all_sent: bool) -> Self {
        if is_all_sent {
            return Self::Here(Box::pin(connection));
        }
        tokio::spawn(connection.with_upgrades());
        Self::Away
    }

    /// The answer or its body reports failures.
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Self::Here(connection) = self
            && connection.as_mut().poll(context).is_ready()
        {
            *self = Self::Away;
        }
    }

    /// Waits for `answer`, which is to come over it.
    async fn drive<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        std::future::poll_fn(|context| {
            // Twice: the request has to be there before it can be sent.
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            self.poll(context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

/// An answer's body that counts as a connection until it is done or dropped.
struct Counted {
    body: Incoming,
    /// Whether the length that the body itself has is the answer's.
    is_told: bool,
    inside: Inside,
    _connection: Connection,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // First asked for, then fetched, then taken.
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            return frame;
        }
        self.inside.poll(context);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_told { self.body.size_hint() } else { SizeHint::default() }
    }
}
