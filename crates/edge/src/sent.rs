//! A request's body on its way in, and whether it was the client who broke it off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, HttpBody as _};
use http_body_util::BodyExt as _;

/// Whether a body could not be read to its end: then what follows is not the sandbox's fault.
#[derive(Debug, Clone, Default)]
pub(crate) struct Broken(Arc<AtomicBool>);

impl Broken {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Watches `body`.
pub(crate) fn watched(body: Body) -> (Body, Broken) {
    let broken = Broken::default();
    if body.is_end_stream() {
        return (body, broken);
    }
    let seen = broken.clone();
    let body = body.map_err(move |error| {
        seen.0.store(true, Ordering::Relaxed);
        error
    });
    (Body::new(body), broken)
}
