//! The control plane over HTTP: one file per endpoint.
//!
//! ```text
//! request ─► panic guard ─► request id ─► log ─► CORS ─► route ─► Caller (who asks) ─► path, query, body ─► endpoint
//!                                                          │                                               │
//!                                                          └► 404, 405, 501 as JSON        Lifecycle, Store ┘
//! ```
//!
//! Every answer that is not a success is `{"code", "message"}` with `code` equal to the status. Every endpoint but
//! `/health` and `/openapi.json` asks for an API key before it looks at anything else; whatever belongs to another
//! team answers exactly as if it did not exist.
//!
//! What is the operator's is asked for with the admin token instead, which opens nothing else.
//!
//! New events reach streams and waiting requests through `live`, which follows the store's feed.
//!
//! Bounds: bodies are read up to [`MAX_BODY_BYTES`] and for at most [`BODY_TIMEOUT`]; lists are paged. An endpoint
//! owns nothing: a request that is dropped half way leaves the sandbox's driver to finish what was admitted.

#![warn(clippy::disallowed_methods)]

mod admin;
mod auth;
mod body;
mod endpoints;
mod error;
mod event_filter;
mod layers;
mod live;
mod live_metrics;
mod not_implemented;
mod openapi;
mod paths;
mod query;
mod segments;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use sandscope_lifecycle::Lifecycle;
use sandscope_model::{AlertRule, Attempt, Clock, Entropy, Prices, Secret, Webhook};
use sandscope_store::Store;
use sandscope_wire::node::NodeView;
use tokio::sync::watch;

pub use auth::RemoteAddress;
pub use body::{BODY_TIMEOUT, MAX_BODY_BYTES};
pub use live::{Hangup, StreamOptions};
pub use live_metrics::LiveMetrics;
pub use openapi::openapi;

/// Whether the server takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Serving,
    /// It is about to stop.
    Draining,
}

/// Decides whether a webhook may point to a URL; the error is one sentence for the webhook's owner.
pub type WebhookUrlCheck = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Sends a made-up event to a webhook and says how that went; `None` if too many are being sent.
pub type WebhookTester =
    Arc<dyn Fn(Webhook) -> Pin<Box<dyn Future<Output = Option<Attempt>> + Send>> + Send + Sync>;

/// Tells of the machine that sandboxes run on, as of now.
pub type NodeReader = Arc<dyn Fn() -> NodeView + Send + Sync>;

/// What the endpoints work with.
pub struct ApiOptions {
    /// The lives of sandboxes.
    pub lifecycle: Lifecycle,
    /// Everything recorded.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance: ids, keys.
    pub entropy: Arc<dyn Entropy>,
    /// What `GET /health` says.
    pub health: watch::Receiver<Health>,
    /// Which targets webhooks may have.
    pub webhook_url_check: WebhookUrlCheck,
    /// Tries webhooks out.
    pub webhook_tester: WebhookTester,
    /// Domain under which sandboxes' ports are reached, told to clients; `None` leaves it to their own settings.
    pub domain: Option<String>,
    /// What usage costs, if the operator set prices.
    pub prices: Option<Prices>,
    /// Bounds of event streams.
    pub streams: StreamOptions,
    /// The last minutes of every sandbox.
    pub live_metrics: LiveMetrics,
    /// The operator's rules of alerts.
    pub alert_rules: Vec<AlertRule>,
    /// Tells of this machine.
    pub node: NodeReader,
    /// What the operator asks with; without one nobody can.
    pub admin_token: Option<Secret>,
}

/// What the endpoints share.
pub(crate) struct Shared {
    options: ApiOptions,
    live: live::Live,
}

impl std::ops::Deref for Shared {
    type Target = ApiOptions;

    fn deref(&self) -> &ApiOptions {
        &self.options
    }
}

/// The endpoints' shared state.
type App = Arc<Shared>;

/// Every endpoint, with JSON answers for unknown routes, unknown methods and panics.
pub fn router(options: ApiOptions) -> Router {
    let live = live::Live::new(options.store.clone(), options.health.clone(), options.streams.max_per_team);
    let app: App = Arc::new(Shared { options, live });
    let (router, _) = endpoints::router().split_for_parts();
    let router = not_implemented::add_routes(router)
        .route(paths::OPENAPI, get(openapi::serve))
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_method);
    layers::wrap(router, &app.entropy).with_state(app)
}

#[cfg(test)]
mod tests;
