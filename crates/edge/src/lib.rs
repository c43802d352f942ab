//! The data plane: traffic into sandboxes.
//!
//! ```text
//! request ──► route::destination ──► none: the control plane's router
//!                  │        ├──────► a sandbox's token and nothing else: by whose it is
//!                  │        └──────► /files and nothing else: signed::Finder, by whose token the signature is right
//!                  ▼ sandbox and port
//!            admit: reserved routes, traffic token, who may resume, connections per sandbox
//!                  ▼
//!            Lives::dial (resumes if its owner wished so) ──► 502/403/409/429/503 as the SDKs know them
//!                  ▼
//!            one HTTP/1.1 connection into the sandbox, bodies streamed both ways, upgrades passed through
//! ```
//!
//! One port serves both planes; only the host name, the `E2b-Sandbox-*` headers or a signature distinguish them (even
//! `/health` exists on both). Each request owns its connection into the sandbox: it ends when either side does, and a
//! client that goes away takes it along. Nothing is buffered, so memory does not grow with a body; connections are
//! counted per sandbox, so one sandbox cannot use up the server's, and its programs not the agent's.
//!
//! A sandbox that is paused in the middle of an answer stalls it; it goes on after the resume. One that is killed
//! closes it.
//!
//! What HTTP/1.1 and HTTP/2 say differently is made the same on the way in (`headers`). What does not come through:
//! informational answers other than 100 (which is given when the body is first asked for) and 101, and a client that
//! closes its sending side is taken to have gone, but for upgraded connections, which are passed on half by half.

#![warn(clippy::disallowed_methods)]

mod answer;
mod connections;
mod forward;
mod headers;
mod page;
mod preflight;
mod response;
mod route;
mod sent;
mod signed;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_agent_protocol::rest::ACCESS_TOKEN_HEADER;
use sandscope_lives::Lives;
use sandscope_model::{Clock, Sandbox, Secret};

pub use route::{Destination, IsControlPath, Refusal, Target};

use answer::{Answer, Form};
use connections::Connections;
use signed::Finder;

/// Connections into one sandbox at a time: to its agent, and as many to its programs.
pub const MAX_CONNECTIONS: usize = 512;

/// What the edge works with.
pub struct EdgeOptions {
    /// The lives of sandboxes.
    pub lives: Arc<dyn Lives>,
    /// The time, for URLs that hold for a time.
    pub clock: Arc<dyn Clock>,
    /// The domain of `<port>-<sandbox id>.<domain>`, without a port.
    pub domain: String,
    /// What the operator asks the control plane with: it stays outside.
    pub admin_token: Option<Secret>,
    /// What is told of a request that carried the right token or signature.
    pub key_shown: fn(&http::Extensions),
    /// Which paths the control plane has and the agent has not.
    pub is_control_path: IsControlPath,
}

/// Carries traffic into sandboxes.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

struct Inner {
    lives: Arc<dyn Lives>,
    clock: Arc<dyn Clock>,
    domain: String,
    admin_token: Option<Secret>,
    key_shown: fn(&http::Extensions),
    is_control_path: IsControlPath,
    connections: Connections,
    finder: Finder,
}

impl Edge {
    /// An edge that answers for `<port>-<sandbox id>.<domain>`, the `E2b-Sandbox-*` headers and signed URLs.
    pub fn new(options: EdgeOptions) -> Self {
        let EdgeOptions { lives, clock, domain, admin_token, key_shown, is_control_path } = options;
        let (connections, finder) = (Connections::new(MAX_CONNECTIONS), Finder::new());
        Self {
            inner: Arc::new(Inner {
                lives,
                clock,
                domain,
                admin_token,
                key_shown,
                is_control_path,
                connections,
                finder,
            }),
        }
    }

    /// What a request is for.
    ///
    /// # Errors
    /// [`Refusal`] if it is for a sandbox but does not say which in a way that can be understood.
    pub fn classify(&self, parts: &http::request::Parts) -> Result<Destination, Refusal> {
        route::destination(&self.inner.domain, self.inner.is_control_path, parts)
    }

    /// Carries `request` to `target` and its answer back.
    pub async fn forward(&self, target: Target, request: Request<Body>) -> Response<Body> {
        let form = Form::wanted(request.headers());
        let carried = forward::carry(&self.inner, &target, request).await;
        carried.unwrap_or_else(|answer| answer.render(form))
    }

    /// Carries `request` to the agent of the sandbox whose token it carries.
    async fn forward_by_token(&self, request: Request<Body>) -> Response<Body> {
        let given = request.headers().get(ACCESS_TOKEN_HEADER).map(http::HeaderValue::as_bytes);
        let is_its = |sandbox: &Sandbox| {
            let token = sandbox.spec.envd_access_token.as_ref();
            token.zip(given).is_some_and(|(token, given)| headers::is_same(given, token))
        };
        let sandboxes = self.inner.lives.sandboxes();
        match sandboxes.iter().find(|sandbox| is_its(sandbox)) {
            Some(sandbox) => {
                let target = Target { id: sandbox.id.clone(), port: AGENT_PORT };
                self.forward(target, request).await
            }
            None => Answer::nobodys_token().render(Form::wanted(request.headers())),
        }
    }

    async fn forward_signed(&self, request: Request<Body>) -> Response<Body> {
        let form = Form::wanted(request.headers());
        let (parts, body) = request.into_parts();
        let Inner { lives, clock, finder, .. } = &*self.inner;
        match finder.find(&parts, &**clock, || lives.sandboxes()).await {
            Ok(target) => self.forward(target, Request::from_parts(parts, body)).await,
            Err(answer) => answer.render(form),
        }
    }
}

/// Marks an answer of the data plane, as an extension: for who counts answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataPlane;

/// One router for both planes: requests for a sandbox go to the edge, everything else to `control`.
pub fn serve_either(edge: Edge, control: Router) -> Router {
    control.layer(from_fn_with_state(edge, either))
}

async fn either(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let destination = edge.classify(&parts);
    let request = Request::from_parts(parts, body);
    let mut answer = match destination {
        Ok(Destination::Control) => return next.run(request).await,
        Ok(Destination::Sandbox(target)) => edge.forward(target, request).await,
        Ok(Destination::Token) => edge.forward_by_token(request).await,
        Ok(Destination::SignedFile) => edge.forward_signed(request).await,
        Ok(Destination::Preflight) => preflight::answer(request.headers()),
        Err(refusal) => refusal.into_response(),
    };
    answer.extensions_mut().insert(DataPlane);
    answer
}
