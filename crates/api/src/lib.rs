//! The control plane over HTTP: one file per endpoint.
//!
//! ```text
//! request ─► panic guard ─► request id ─► log ─► CORS ─► route ─► Caller (who asks) ─► path, query, body ─► endpoint
//!                                                          │                                               │
//!                                                          └► 404, 405, 501 as JSON            Lives, Store ┘
//! ```
//!
//! Every answer that is not a success is `{"code", "message"}` with `code` equal to the status. Every endpoint but
//! `/health` and `/openapi.json` asks for an API key before it looks at anything else; whatever belongs to another
//! team answers exactly as if it did not exist.
//!
//! What is the operator's is asked for with the admin token instead, which opens nothing else.
//!
//! New events reach streams and waiting requests through `event_readers`, which follows the store's feed.
//!
//! Bounds: bodies are read up to [`MAX_BODY_BYTES`] and for at most [`BODY_TIMEOUT`]; lists are paged. An endpoint
//! owns nothing: a request that is dropped half way leaves the sandbox's driver to finish what was admitted.

#![warn(clippy::disallowed_methods)]

mod admin;
mod app;
mod auth;
mod body;
mod endpoints;
mod error;
mod event_filter;
mod event_readers;
mod health;
mod json;
mod layers;
mod live_metrics;
mod not_implemented;
mod openapi;
mod pairs;
mod parameters;
mod paths;
mod query;
mod sdk;
mod segments;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use app::{ApiOptions, NodeReader, WebhookTester, WebhookUrlCheck};
pub use auth::{KeyShown, RemoteAddress};
pub use body::{BODY_TIMEOUT, MAX_BODY_BYTES};
pub use event_readers::{Hangup, StreamOptions};
pub use health::Health;
pub use live_metrics::LiveMetrics;
pub use openapi::{openapi, routes};
pub use paths::is_control_path;

pub(crate) use app::{App, Shared};
use parameters::Parameters;

/// Every endpoint, with JSON answers for unknown routes, unknown methods and panics.
pub fn router(options: ApiOptions) -> Router {
    let (store, health, tasks) = (options.store.clone(), options.health.clone(), options.tasks.clone());
    let event_readers =
        event_readers::EventReaders::new(store.events.clone(), health, options.streams, tasks);
    let (router, document) = endpoints::router().split_for_parts();
    let parameters = Arc::new(Parameters::of(document));
    let app: App = Arc::new(Shared { options, event_readers, parameters: Arc::clone(&parameters) });
    let router = not_implemented::add_routes(router)
        .route(paths::OPENAPI, get(openapi::serve))
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_method);
    layers::wrap(router, &app.entropy, parameters).with_state(app)
}

#[cfg(test)]
mod tests;
