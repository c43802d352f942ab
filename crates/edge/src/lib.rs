//! The data plane: traffic into sandboxes.
//!
//! ```text
//! request ──► route::target ──► none: the control plane's router
//!                  │
//!                  ▼ sandbox and port
//!            admit: reserved routes, traffic token, connections per sandbox
//!                  ▼
//!            Lifecycle::dial (resumes if its owner wished so) ──► 502/409/429/503 as the SDKs know them
//!                  ▼
//!            one HTTP/1.1 connection into the sandbox, bodies streamed both ways, upgrades passed through
//! ```
//!
//! One port serves both planes; only the host name or the `E2b-Sandbox-*` headers tell them apart (even `/health`
//! exists on both). Each request owns its connection into the sandbox: it ends when either side does, and a client
//! that goes away takes it along. Nothing is buffered, so memory does not grow with a body; connections are counted
//! per sandbox, so one sandbox cannot use up the server's, and its programs not the agent's.
//!
//! A sandbox that is paused in the middle of an answer stalls it; it goes on after the resume. One that is killed
//! closes it.

mod answer;
mod connections;
mod forward;
mod route;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use sandscope_lifecycle::Lifecycle;

pub use route::{Refusal, Target};

use connections::Connections;

/// Connections into one sandbox at a time: to its agent, and as many to its programs.
const MAX_CONNECTIONS: usize = 512;

/// Carries traffic into sandboxes.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

struct Inner {
    lifecycle: Lifecycle,
    domain: String,
    connections: Connections,
}

impl Edge {
    /// An edge that answers for `<port>-<sandbox id>.<domain>` and for the `E2b-Sandbox-*` headers.
    pub fn new(lifecycle: Lifecycle, domain: String) -> Self {
        let connections = Connections::new(MAX_CONNECTIONS);
        Self { inner: Arc::new(Inner { lifecycle, domain, connections }) }
    }

    /// Which sandbox and port a request is for; `None` means the control plane.
    ///
    /// # Errors
    /// [`Refusal`] if it is for a sandbox but does not say which in a way that can be understood.
    pub fn classify(&self, parts: &http::request::Parts) -> Result<Option<Target>, Refusal> {
        route::target(&self.inner.domain, parts)
    }

    /// Carries `request` to `target` and its answer back.
    pub async fn forward(&self, target: Target, request: Request<Body>) -> Response<Body> {
        forward::forward(&self.inner, target, request).await
    }
}

/// One router for both planes: requests for a sandbox go to the edge, everything else to `control`.
pub fn serve_either(edge: Edge, control: Router) -> Router {
    control.layer(from_fn_with_state(edge, either))
}

async fn either(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match edge.classify(&parts) {
        Ok(None) => next.run(Request::from_parts(parts, body)).await,
        Ok(Some(target)) => edge.forward(target, Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}
